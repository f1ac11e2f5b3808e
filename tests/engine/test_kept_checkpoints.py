"""Which checkpoints a run leaves: the newest, the periodic ones that are kept, the selected model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.stored import load_run
from unreid.config import CfgNode
from unreid.engine.run import run
from unreid.utils.io import load_checkpoint


@pytest.mark.parametrize(
    ("keep", "period", "left"),
    [(1, 1, []), (2, 1, [3, 4]), (3, 1, [2, 3, 4]), (0, 1, [1, 2, 3, 4]), (0, 3, [3, 4]), (0, 0, [4])],
)
def test_the_newest_of_the_periodic_checkpoints_are_kept(
    small_config: Callable[..., CfgNode], keep: int, period: int, left: list[int]
) -> None:
    short = ("WARMUP.EPOCHS", "0", "OPTIM.EPOCHS", "4", "DATALOADER.ITERS", "1", "MODEL.RECALIBRATE_BN", "0")
    cfg = small_config(*short, "CHECKPOINT.KEEP", str(keep), "CHECKPOINT.PERIOD", str(period))
    run(cfg)
    folder = Path(cfg.OUTPUT_DIR)
    numbered = {int(path.stem.rpartition("_")[2]): path for path in folder.glob("checkpoint_[0-9]*.pth")}
    assert sorted(numbered) == left
    assert all(load_run(path)["state"]["epoch"] == epoch for epoch, path in numbered.items())
    assert load_run(folder / "checkpoint.pth")["state"]["epoch"] == 4
    assert load_checkpoint(folder / "model_best.pth")["results"]["epoch"] == 4, "the one epoch that was scored"
