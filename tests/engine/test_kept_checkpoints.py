"""Which checkpoints a run leaves: the newest, the periodic ones that are kept, the selected model."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, cast

import pytest

from tests.engine.stored import load_run
from unreid.config import CfgNode
from unreid.engine import run as run_module
from unreid.engine.folder import RunFolder
from unreid.engine.hooks import CheckpointHook, EvaluationHook
from unreid.engine.run import run
from unreid.engine.training import Training
from unreid.utils.errors import UserError
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


def test_the_thousandth_epoch_comes_after_the_nine_hundred_and_ninety_ninth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = EvaluationHook(None, period=1, select="last")
    hook = CheckpointHook(tmp_path, config="", evaluation=evaluation, keep=2)
    monkeypatch.setattr(CheckpointHook, "_write", lambda self, path, results: path.write_bytes(b"x"))
    for epoch in range(997, 1003):
        hook.trainer = cast(Training, SimpleNamespace(state=SimpleNamespace(epoch=epoch)))
        hook._keep_copy()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_1001.pth", "checkpoint_1002.pth"]
    (tmp_path / "checkpoint_999.pth").write_bytes(b"x")
    with pytest.raises(UserError, match=r"RESUME \S+checkpoint_1002\.pth"):
        RunFolder(tmp_path).check_free()


def test_a_stored_run_is_not_kept_in_memory_while_it_goes_on(
    small_config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stored:
        """As large as the network, its optimiser and its memory."""

        trainer: ClassVar = {"state": {"global_step": 7}}

    read: list[weakref.ref[Stored]] = []

    def read_run(path: str) -> Stored:
        stored = Stored()
        read.append(weakref.ref(stored))
        return stored

    @contextmanager
    def opened(*_: object) -> Iterator[None]:
        assert read[0]() is None
        raise KeyboardInterrupt
        yield

    state = SimpleNamespace(epoch=1, step=0)
    trainer = SimpleNamespace(method=SimpleNamespace(num_samples=2), state=state, load_state_dict=lambda stored: None)
    for name, double in {
        "read_run": read_run,
        "check_resumable": lambda *_: None,
        "build_trainer": lambda *_, **__: trainer,
        "check_numbers": lambda *_: None,
        "_opened": opened,
    }.items():
        monkeypatch.setattr(run_module, name, double)
    with pytest.raises(KeyboardInterrupt):
        run_module.train(small_config("RESUME", "a.pth"))
