"""CHECKPOINT, LOG and DIST: files, reports, processes."""

from __future__ import annotations

from unreid.config.conditions import NAME, SWITCH, at_least, between, each
from unreid.config.key import Key

KEYS: dict[str, Key] = {
    "CHECKPOINT.PERIOD": Key(1, at_least(0), "epochs between checkpoints; 0: only the last"),
    "CHECKPOINT.KEEP": Key(1, at_least(0), "periodic checkpoints kept; 0: all"),
    "LOG.TENSORBOARD": Key(True, SWITCH, "write TensorBoard event files"),
    "LOG.WRITERS": Key([], each(NAME, empty=True), "further writers of scalars: WandB, MLflow"),
    "LOG.CLUSTER_IMAGES": Key(6, between(0, 1000), "clusters shown as pictures in TensorBoard; 0: none"),
    "LOG.PROGRESS": Key(True, SWITCH, "progress bar on a terminal, and the time left in the log"),
    "DIST.TIMEOUT_MINUTES": Key(
        10.0, between(0.01, 10_000), "one of several processes without a sign of life for so long ends the run"
    ),
}
