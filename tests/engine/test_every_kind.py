"""Every kind of ``unreid list`` takes a part from outside the package, by PLUGINS and from an installed package."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import CONFIGS, SHORT_RUN, SMALL_WORLD
from unreid.config import load_config
from unreid.engine.cli import main
from unreid.engine.kinds import KINDS
from unreid.engine.run import run
from unreid.utils.plugins import import_installed

HEAD = """
import functools, torch
from pathlib import Path

def used(kind):
    with open(Path(__file__).with_suffix(".used"), "a") as file:
        file.write(kind + "\\n")
"""

PARTS = {
    "method": """
        from unreid.methods import METHODS, ClusterContrast
        @METHODS.register("NAME")
        class Mine(ClusterContrast):
            def plan(self, clustering, round):
                used("method")
                return super().plan(clustering, round)
        """,
    "part": """
        from unreid.methods.parts import PARTS, Part
        @PARTS.register("NAME")
        class MyPart(Part):
            def losses(self, rows, memory, at):
                used("part")
                return {}
        """,
    "loss": """
        from unreid.losses import LOSSES, Loss
        @LOSSES.register("NAME")
        class MyLoss(Loss):
            def __call__(self, inputs):
                used("loss")
                return inputs.features.float().square().mean()
        """,
    "clusterer": """
        from unreid.clustering import CLUSTERERS, DBSCAN
        @CLUSTERERS.register("NAME")
        class MyClusterer(DBSCAN):
            def cluster(self, features, graph, **given):
                used("clusterer")
                return super().cluster(features, graph, **given)
        """,
    "metric": """
        from unreid.neighbors import METRICS, Metric, jaccard_graph
        @METRICS.register("NAME")
        class MyMetric(Metric):
            def graph(self, features, radius, camids, round, lists):
                used("metric")
                return jaccard_graph(features, k1=4, k2=2, radius=radius, knn_backend=self.settings.knn_backend)
        """,
    "kNN back-end": """
        from unreid.neighbors import KNN_BACKENDS
        @KNN_BACKENDS.register("NAME")
        def my_search(features, queries, k, how):
            used("kNN back-end")
            return KNN_BACKENDS.get("torch")(features, queries, k, how)
        """,
    "memory": """
        from unreid.memory import MEMORIES, ClusterMemory
        @MEMORIES.register("NAME")
        class MyMemory(ClusterMemory):
            def reset(self, *given, **known):
                used("memory")
                super().reset(*given, **known)
        """,
    "memory update rule": """
        from unreid.memory.update_rules import update_rule
        @update_rule("NAME")
        def my_rule(rows, samples, valid, camids, momentum):
            used("memory update rule")
            return rows
        """,
    "diversity memory mode": """
        from unreid.memory import DIVERSITY_MODES
        from dataclasses import replace
        def my_write(bank, batch, write=DIVERSITY_MODES.get("cm").write):
            used("diversity memory mode")
            write(bank, batch)
        DIVERSITY_MODES.register("NAME")(replace(DIVERSITY_MODES.get("cm"), write=my_write))
        """,
    "backbone": """
        from unreid.models.base import register_backbone
        @register_backbone("NAME")
        def my_backbone():
            used("backbone")
            net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 7, stride=8), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
            net.feature_dim = 8
            return net
        """,
    "pooling": """
        from unreid.models.pooling import POOLINGS
        @POOLINGS.register("NAME")
        class MyPooling(POOLINGS.get("max")):
            def pool(self, maps):
                used("pooling")
                return super().pool(maps)
        """,
    "dataset": """
        from unreid.data.datasets import DATASETS
        @DATASETS.register("NAME")
        class MyDataset(DATASETS.get("Synthetic")):
            def _parse(self, split):
                used("dataset")
                return super()._parse(split)
        """,
    "transform": """
        from unreid.data.build import TRANSFORMS, strong_transform
        @TRANSFORMS.register("NAME")
        def my_transform(cfg):
            used("transform")
            return strong_transform(cfg)
        """,
    "sampler": """
        from unreid.data.samplers import SAMPLERS, GroupSampler
        @SAMPLERS.register("NAME")
        class MySampler(GroupSampler):
            anchored = False
            def one_pass(self, generator):
                used("sampler")
                return self._members[self._draw_groups(generator)].reshape(-1)
        """,
    "optimizer": """
        from unreid.engine.optim import OPTIMIZERS
        @OPTIMIZERS.register("NAME")
        def my_optimizer(groups, cfg):
            used("optimizer")
            return torch.optim.RMSprop(groups, lr=cfg.OPTIM.LR)
        """,
    "schedule": """
        from unreid.engine.optim import SCHEDULES
        @SCHEDULES.register("NAME")
        def my_schedule(epoch, schedule):
            used("schedule")
            return schedule.lr
        """,
    "hook": """
        from unreid.engine.hooks import HOOKS, Hook
        @HOOKS.register("NAME")
        class MyHook(Hook):
            def after_epoch(self):
                used("hook")
        """,
    "writer": """
        from unreid.utils.events import WRITERS
        @WRITERS.register("NAME")
        class MyWriter:
            def __init__(self, output_dir, settings, resume_step):
                used("writer")
            def write(self, events): ...
            def close(self): ...
        """,
}
"""kind -> a part that notes its use; NAME is what it is registered under."""

RUNS: tuple[dict[str, str], ...] = (
    {
        "METHOD.NAME": "method",
        "METHOD.EXTRAS": "part",
        "METHOD.LOSSES": "loss",
        "CLUSTER.NAME": "clusterer",
        "CLUSTER.METRIC": "metric",
        "CLUSTER.KNN.BACKEND": "kNN back-end",
        "MEMORY.NAME": "memory",
        "MEMORY.UPDATE": "memory update rule",
        "MODEL.BACKBONE.NAME": "backbone",
        "MODEL.POOLING.NAME": "pooling",
        "DATASETS.NAMES": "dataset",
        "INPUT.TRANSFORM": "transform",
        "DATALOADER.SAMPLER.NAME": "sampler",
        "OPTIM.OPT": "optimizer",
        "OPTIM.SCHED": "schedule",
        "HOOKS": "hook",
        "LOG.WRITERS": "writer",
    },
    {"MEMORY.UPDATE": "diversity memory mode"},
)
"""config key -> kind, of two runs: the second's memory is the DiversityMemory."""

WAYS = ("PLUGINS", "entry point")
LISTS = ("METHOD.EXTRAS", "METHOD.LOSSES", "DATASETS.NAMES", "HOOKS", "LOG.WRITERS")
TABLES = ("_table", "_names", "_aliases")


def named(kind: str, way: str) -> str:
    return f"{way}_{kind}".replace(" ", "_").replace("-", "_")


def write_parts(folder: Path, way: str) -> Path:
    """A module with a part of every kind."""
    source = [HEAD, *(textwrap.dedent(code).replace("NAME", named(kind, way)) for kind, code in PARTS.items())]
    file = folder / f"parts_by_{way.replace(' ', '_')}.py"
    file.write_text("\n".join(source))
    return file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """way -> the module, after two runs that name every part of it; nothing stays registered."""
    registries = [kind.load() for kind in KINDS.values()]
    before = [{name: dict(vars(registry)[name]) for name in TABLES} for registry in registries]
    folder = tmp_path_factory.mktemp("parts")
    found = {way: write_parts(folder, way) for way in WAYS}
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[unreid.plugins]\nmine = {found['entry point'].stem}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        import_installed.cache_clear()
        for way, file in found.items():
            for number, settings in enumerate(RUNS):
                words = [word for key, kind in settings.items() for word in (key, _value(key, named(kind, way)))]
                words += ["PLUGINS", f"['{file}']"] if way == "PLUGINS" else []
                words += ["MEMORY.NAME", "DiversityMemory"] if number else []
                run(_config(folder, f"{way} {number}", words))
    yield found
    import_installed.cache_clear()
    for registry, tables in zip(registries, before):
        vars(registry).update(tables)


def _value(key: str, name: str) -> str:
    return f"['{name}']" if key in LISTS else name


def _config(folder: Path, output: str, words: list[str]):
    places = ["DATASETS.ROOT", str(folder), "OUTPUT_DIR", str(folder / output)]
    short = ["OPTIM.EPOCHS", "1", "DATALOADER.ITERS", "2", "WARMUP.EPOCHS", "0", "CLUSTER.EPS", "0.5"]
    small = ["MODEL.BACKBONE.WIDTH", "4", "INPUT.SIZE_TRAIN", "[64, 32]", "INPUT.SIZE_TEST", "[64, 32]"]
    file = str(CONFIGS / "ClusterContrast_synthetic.yml")
    return load_config(file, [*SMALL_WORLD, *SHORT_RUN, *places, *short, *small, *words])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_from_outside_is_listed_and_runs(
    kind: str, way: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert kind in files[way].with_suffix(".used").read_text().splitlines()
    plugins = ["--plugins", str(files[way])] if way == "PLUGINS" else []
    assert main(["list", kind, *plugins]) == 0
    assert named(kind, way) in capsys.readouterr().out
