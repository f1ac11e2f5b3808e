"""Keeps the pseudo labels of a run's last round: what the miner learns walking times from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from unreid.constraints import save_pseudo_labels
from unreid.engine.hooks.base import HOOKS, Hook, Run
from unreid.structures import Clustering, RoundPlan
from unreid.utils.distributed import is_main
from unreid.utils.state import entries, require_labels

logger = logging.getLogger(__name__)


@HOOKS.register("PseudoLabels")
class PseudoLabelHook(Hook):
    """Writes ``pseudo_labels.npz`` when the run ends: the key of every training sample and its label, -1 outlier.

    Args:
        keys: of the training list.
        meta: what a reader should know about the run; plain JSON values.
    """

    def __init__(self, folder: Path, keys: Sequence[str], meta: dict[str, Any]) -> None:
        self.path = folder / "pseudo_labels.npz"
        self.keys = keys
        self.meta = meta
        self._labels: Tensor | None = None

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        meta = {"method": run.cfg.METHOD.NAME, "sts": run.cfg.CLUSTER.STR_OPTION}
        return cls(run.output_dir, run.data.keys, meta)

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        if self.trainer.state.round >= 0:
            self._labels = clustering.labels

    def after_train(self) -> None:
        if self._labels is not None and is_main():
            meta = {**self.meta, "epoch": self.trainer.state.epoch}
            save_pseudo_labels(self.path, self.keys, self._labels.numpy(), meta)
            logger.info("pseudo labels: %s", self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"labels": self._labels}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        labels = entries(state, "the pseudo labels", {"labels": (Tensor, type(None))})["labels"]
        require_labels(labels, "the pseudo labels", len(self.keys))
        self._labels = labels
