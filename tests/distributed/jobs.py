"""What a job of several processes runs: ``torchrun --nproc_per_node=2 -m tests.distributed.jobs FOLDER NAME ...``.

Every entry of ``JOBS`` is a whole run (or a part of one) that leaves its results below ``FOLDER/NAME``. The same
functions run in one process when a test calls them. The rendered dataset is shared, below ``FOLDER/datasets``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tests.engine.conftest import CONFIGS, SHORT_RUN, SMALL_WORLD
from unreid.clustering import dbscan
from unreid.config import CfgNode, load_config
from unreid.engine import build
from unreid.engine.hooks import Hook, RankMismatchError
from unreid.engine.run import run
from unreid.neighbors import PairGraphBuilder
from unreid.structures import StepOutput
from unreid.utils.distributed import get_rank
from unreid.utils.errors import PeerFailedError
from unreid.utils.job import init_from_env, shutdown

COMPARABLE = [
    *("MODEL.BN_CHUNKS", "2"),  # the parts that two processes normalise on their own
    *("WARMUP.EPOCHS", "0"),
    *("PRINT_PERIOD", "1"),
    *("HOOKS", "['RankCheck']"),
    *("LOG.PROGRESS", "False"),
]
ROUNDS = ("CLUSTER.NUM_CLUSTERS", "10", "CLUSTER.WARMUP.ROUNDS", "1")
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ClusterContrast": ("ClusterContrast_synthetic.yml", ()),
    "SpCL": ("SpCL_synthetic.yml", ()),
    "CDSM": ("CDSM_synthetic.yml", ("METHOD.CDSM.TEACHER_VIEW", "base")),
    "ISE": ("ISE_synthetic.yml", ()),
    "CCC_HDC": ("CCC_HDC_synthetic.yml", ROUNDS),
    "CCC_KMeans": ("CCC_KMeans_synthetic.yml", ROUNDS),
    "O2CAP": ("O2CAP_synthetic.yml", ("CLUSTER.METRIC", "ca_jaccard", "CLUSTER.CA.K1_INTER", "6")),
    "PPLR": (
        "PPLR_synthetic.yml",
        ("METHOD.PPLR.CAMERAS", "True", "METHOD.PPLR.AALS_ROUND", "1", "METHOD.PPLR.K", "6"),
    ),
    "BUC": (
        "BUC_synthetic.yml",
        (
            *("METHOD.BUC.MERGE_PERCENT", "0.25", "METHOD.BUC.ROUNDS", "3"),
            *("METHOD.BUC.EPOCHS_FIRST", "1", "METHOD.BUC.EPOCHS_LATER", "1"),
        ),
    ),
    "AuxUSL": (
        "AuxUSL_synthetic_video.yml",
        (
            *("DATASETS.SYNTHETIC_VIDEO.TRAIN_IDS", "10", "DATASETS.SYNTHETIC_VIDEO.TEST_IDS", "6"),
            *("DATASETS.SYNTHETIC_VIDEO.CAMERAS", "3", "DATASETS.SYNTHETIC_VIDEO.FRAMES", "[5, 8]"),
            *("DATASETS.SYNTHETIC_VIDEO.HEIGHT", "32", "DATASETS.SYNTHETIC_VIDEO.WIDTH", "16"),
            *("DATALOADER.TRAIN_SEQ_LEN", "2", "MODEL.LOSSES.ID_K", "3"),
        ),
    ),
}


def settings(folder: Path, output: str, method: str, *overrides: Any) -> tuple[str, list[Any]]:
    """Config file and overrides of a short run of a method on the small world."""
    file, own = METHODS[method]
    places = ["DATASETS.ROOT", str(folder / "datasets"), "OUTPUT_DIR", str(folder / output)]
    return str(CONFIGS / file), [*SMALL_WORLD, *SHORT_RUN, *COMPARABLE, *own, *places, *overrides]


def config(folder: Path, output: str, method: str, *overrides: Any) -> CfgNode:
    """The same, loaded."""
    return load_config(*settings(folder, output, method, *overrides))


def arguments(folder: Path, output: str, method: str, *overrides: Any) -> list[Any]:
    """The same, as arguments of ``tools/main.py``."""
    file, values = settings(folder, output, method, *overrides)
    return ["--config-file", file, *values]


def train(folder: Path, method: str) -> None:
    """A whole run that is compared with one process; beside it the labels of every round and how the weights moved.

    In float64: one and two processes round differently, and in float32 a few ReLUs that flip, or Adam's first steps,
    which divide by the size of the gradient, let that grow until some clustering tips over.
    """
    cfg = config(folder, method, method)
    with extra_hook(Follow()) as hook, double_precision():
        run(cfg)
    write(folder / method, {"labels": hook.labels, "moved": hook.moved.tolist()})


def stop(folder: Path) -> None:
    """A signal to the last process; then the run goes on with ``RESUME auto``, beside one that is not interrupted.

    With dropout, whose masks must resume as well.
    """
    dropout = ("MODEL.DROPOUT", "0.5")
    run(config(folder, "stop/whole", "ClusterContrast", *dropout))
    last = int(os.environ.get("WORLD_SIZE", "1")) - 1
    with extra_hook(SignalAt(step=5, rank=last)) as hook:
        finished = run(config(folder, "stop/cut", "ClusterContrast", *dropout))["finished"]
    write(folder / "stop", {"finished": finished, "steps": hook.trainer.state.global_step})
    until_free(folder / "stop/cut")
    assert run(config(folder, "stop/cut", "ClusterContrast", *dropout, "RESUME", "auto"))["finished"]


def until_free(output: Path) -> None:
    """Waits for the process that still holds the folder of the run before, which nothing but a test begins again."""
    deadline = time.monotonic() + 30
    while (output / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def mismatch(folder: Path) -> None:
    """One process changes its memory on its own."""
    message = ""
    with extra_hook(Tamper()):
        try:
            run(config(folder, "mismatch/run", "ClusterContrast"))
        except RankMismatchError as error:
            message = str(error)
        except PeerFailedError as error:  # the other process was faster
            message = str(error.__cause__)
    write(folder / "mismatch", {"message": message})


class Follow(Hook):
    """Collects the labels of every round and how far the weights moved in all."""

    def __init__(self) -> None:
        self.labels: list[list[int]] = []

    def before_train(self) -> None:
        self._start = self._weights()

    def after_train(self) -> None:
        self.moved = self._weights() - self._start

    def _weights(self) -> Tensor:
        return torch.cat([weight.detach().flatten() for weight in self.trainer.model.parameters()])

    def after_label(self, clustering: Any, plan: Any) -> None:
        self.labels.append(plan.targets.tolist())


class SignalAt(Hook):
    """Sends SIGTERM to one process after a step."""

    def __init__(self, step: int, rank: int) -> None:
        self.step, self.rank = step, rank

    def after_step(self, output: StepOutput) -> None:
        if self.trainer.state.global_step == self.step and get_rank() == self.rank:
            os.kill(os.getpid(), signal.SIGTERM)


class Tamper(Hook):
    """Changes a number of the memory on all processes but the first, late in the second epoch."""

    def after_step(self, output: StepOutput) -> None:
        if self.trainer.state.global_step == 7 and get_rank() > 0:
            self.trainer.method.memory.bank[0, 0] += 1e-3


@contextmanager
def extra_hook(hook: Any) -> Iterator[Any]:
    """Every trainer gets one more hook, the first in the order."""
    original = build.build_hooks
    build.build_hooks = lambda *args: [hook, *original(*args)]
    try:
        yield hook
    finally:
        build.build_hooks = original


@contextmanager
def double_precision() -> Iterator[None]:
    """Networks compute in float64."""
    original = build.build_model

    def build_model(*args: Any, **kwargs: Any) -> nn.Module:
        model = original(*args, **kwargs).double()
        model.register_forward_pre_hook(lambda module, inputs: (inputs[0].double(), *inputs[1:]))
        return model

    build.build_model = build_model
    try:
        yield
    finally:
        build.build_model = original


def write(folder: Path, results: dict[str, Any]) -> None:
    """One JSON file for every process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"rank{os.environ.get('RANK', '0')}.json").write_text(json.dumps(results))


def graph(folder: Path) -> None:
    """Which of the graphs made by both processes, and of their labels, are those of one process."""
    init_from_env("cpu")
    search = importlib.import_module("unreid.neighbors.knn")
    search.FEW = 0  # so that few rows are searched in cells
    generator = torch.Generator().manual_seed(0)
    owner = torch.randint(60, (1500,), generator=generator)
    centres = torch.randn(60, 24, generator=generator)
    features = normalize(centres[owner] + 0.6 * torch.randn(1500, 24, generator=generator), dim=1)
    camids = torch.randint(5, (1500,), generator=generator)
    equal = {}
    for metric, backend in (("jaccard", "torch"), ("jaccard", "torch_ivf"), ("ca_jaccard", "torch")):
        build = PairGraphBuilder(metric, knn_backend=backend)
        if get_rank() > 0:
            build.assist(features, 0.6, camids=camids)
            continue
        both, one = (build(features, 0.6, camids=camids, shared=shared) for shared in (True, False))
        same = all(torch.equal(getattr(both, name), getattr(one, name)) for name in ("i", "j", "dist", "self_dist"))
        equal[f"{metric} {backend}"] = same and torch.equal(dbscan(both, 0.6)[0], dbscan(one, 0.6)[0]) and len(one) > 0
    write(folder / "graph", equal)
    shutdown()


JOBS: dict[str, Callable[[Path], None]] = {"stop": stop, "mismatch": mismatch, "graph": graph}


def main(folder: str, *names: str) -> None:
    torch.set_num_threads(1)
    for name in names:
        if name in JOBS:
            JOBS[name](Path(folder))
        else:
            train(Path(folder), name)


if __name__ == "__main__":
    main(*sys.argv[1:])
