"""A training step never makes the host wait for a GPU: no value is read, no shape depends on values.

Without a GPU, the operations of a step on the CPU are watched instead: those that would wait on CUDA are known.
``train_step.py`` of the benchmarks counts the real waits on a GPU.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import unreid
from tests.distributed.jobs import METHODS
from unreid.config import CfgNode
from unreid.engine.run import run
from unreid.engine.trainer import Trainer
from unreid.losses import support_scores
from unreid.memory import hybrid_memory, proxy_memory, update_rules
from unreid.memory.diversity import memory as diversity_memory
from unreid.memory.grouping import group_by_class
from unreid.structures import Batch

READS = {"_local_scalar_dense", "equal", "is_nonzero"}
SHAPES = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "repeat_interleave"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
PACKAGE = Path(unreid.__file__).parent
# Adam's step counter is on the device with its fused form; the loss guard reads every step on a CPU only.
EXCUSED = (Path(torch.__file__).parent / "optim", PACKAGE / "engine" / "hooks" / "monitoring.py")


class Watch(TorchDispatchMode):
    """Collects "operation, line of the package" of what would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition("::")[2].partition(".")[0]
        by_mask = name in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in READS | SHAPES or by_mask:
            self.note(name)
        return func(*args, **(kwargs or {}))

    def note(self, name: str) -> None:
        stack = traceback.extract_stack()
        files = [Path(frame.filename) for frame in stack]
        if not any(file.is_relative_to(place) for file in files for place in EXCUSED):
            caller = next(frame for frame, file in zip(stack[::-1], files[::-1]) if file.is_relative_to(PACKAGE))
            self.found.append(f"{name}, {Path(caller.filename).name}:{caller.lineno} {caller.line}")


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Watches every step but the first two, which set up optimiser and caches."""
    watch = Watch()
    active = False
    step = Trainer._run_step

    def watched_step(self: Trainer, batch: Batch) -> None:
        nonlocal active
        if self.state.global_step < 2:
            return step(self, batch)
        active = True
        with watch:
            step(self, batch)
        active = False

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if active:
                watch.note(method.__name__)
            return method(*args, **options)

        return call

    monkeypatch.setattr(Trainer, "_run_step", watched_step)
    for name in ("tolist", "numpy", "cpu"):  # these do not pass the dispatcher on a CPU
        monkeypatch.setattr(torch.Tensor, name, watched(getattr(torch.Tensor, name)))
    for memory in (update_rules, hybrid_memory, diversity_memory):  # as on a GPU
        monkeypatch.setattr(memory, "group_by_class", as_on_a_gpu)
    for user in (proxy_memory, support_scores):
        monkeypatch.setattr(user, "distinct", lambda values: (values, None))
    return watch


def as_on_a_gpu(targets: torch.Tensor, *, num_instances: int | None = None, **options: Any) -> Any:
    return group_by_class(targets, num_instances=num_instances, static=num_instances is not None, **options)


def short(small_config: Callable[..., CfgNode], method: str) -> CfgNode:
    file, own = METHODS[method]
    one_round = ("WARMUP.EPOCHS", "0", "OPTIM.EPOCHS", "1", "PRINT_PERIOD", "1000")
    return small_config(*own, *one_round, file=file)


@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits(small_config: Callable[..., CfgNode], watch: Watch, method: str) -> None:
    run(short(small_config, method))
    assert watch.found == []


def test_a_wait_would_be_found(
    small_config: Callable[..., CfgNode], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The groups of a batch without the bound that makes their shape known."""
    monkeypatch.setattr(
        update_rules, "group_by_class", lambda targets, **options: group_by_class(targets, static=False)
    )
    run(short(small_config, "ClusterContrast"))
    assert watch.found and all("grouping.py" in line for line in watch.found)
