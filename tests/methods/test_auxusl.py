"""AuxUSL: what a round sets up, what a step is, what constraints change, and whole runs on rendered tracklets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.engine.conftest import CONFIGS, SHORT_RUN
from tests.engine.stored import load_run
from tests.methods.toys import DIM, PIXELS, ToyModel, at_step, toy_method
from unreid.config import CfgNode, load_config
from unreid.constraints import (
    DenseRelation,
    Links,
    Penalty,
    SpatioTemporalFactor,
    TrainConstraints,
    load_pseudo_labels,
    read_relation,
)
from unreid.engine import build
from unreid.engine.commands import MINE
from unreid.engine.hooks import Hook
from unreid.engine.run import run
from unreid.losses import Outputs
from unreid.methods.auxusl import AuxUSL
from unreid.structures import Batch, Clustering, ModelOutput, Position, RoundPlan, StepOutput
from unreid.utils.errors import UserError
from unreid.utils.state import StateError

LABELS = torch.tensor([-1, 0, 0, 0, 0, -1, 1, 1, 1, 1, -1, 2, 2, 2, 2])
CAMIDS = torch.arange(len(LABELS)) % 3
INDICES = torch.tensor([6, 9, 7, 8, 11, 13, 14, 12, 1, 4, 2, 3])
CLIP = 2


class ToyVideoModel(ToyModel):
    """Mean over the frames of a clip, and a classifier on the mean of the BN output."""

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.classifier = nn.Linear(DIM, classes, bias=False)

    def forward(
        self, images: Tensor, clip_len: int = 1, camids: Tensor | None = None, classes: int | None = None
    ) -> ModelOutput:
        frames = self.linear(images.flatten(1))
        pooled = frames.unflatten(0, (-1, clip_len)).mean(1)
        neck = self.bottleneck(frames).unflatten(0, (-1, clip_len)).mean(1)
        return ModelOutput(pooled, F.normalize(neck, dim=1), self.classifier(neck)[:, :classes])


def auxusl(*overrides: Any) -> AuxUSL:
    needed = ("METHOD.NAME", "AuxUSL", "MODEL.EMA.ENABLED", True, "MODEL.CLASSIFIER", True, "CLUSTER.K1", 6)
    rest = ("CLUSTER.K2", 2, "CLUSTER.EPS", 0.9, *overrides)
    method = toy_method(*needed, *rest, camids=CAMIDS, model=ToyVideoModel())
    assert isinstance(method, AuxUSL)
    return method


def clustering(seed: int = 1) -> Clustering:
    """Raw features: not normalised."""
    features = 5 * torch.randn(len(LABELS), DIM, generator=torch.Generator().manual_seed(seed))
    return Clustering(LABELS, 3, features=features)


def batch(seed: int = 2) -> Batch:
    images = torch.randn(len(INDICES) * CLIP, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    return Batch([images], LABELS[INDICES], CAMIDS[INDICES], INDICES, clip_len=CLIP)


def planned(*overrides: Any) -> AuxUSL:
    method = auxusl(*overrides)
    method.plan(clustering(), 0)
    with torch.no_grad():  # so that a test can tell teacher and student apart
        method.teacher.model.linear.weight.add_(0.3 * torch.randn(DIM, PIXELS))
    return method


# ------------------------------------------------------------------------------------------------ a round


@pytest.mark.parametrize("option", [1, 2, 3])
def test_a_round_fills_both_classifiers_with_normalised_centres_of_raw_features(option: int) -> None:
    method = auxusl("MODEL.LOSSES.ID_OPTION", option, "MODEL.LOSSES.ID_K", 2)
    before = method.model.classifier.weight.detach().clone()
    found = clustering()
    method.plan(found, 0)
    centres = torch.stack([found.features[c == LABELS].mean(0) for c in range(3)])
    for network in (method.model, method.teacher.model):
        torch.testing.assert_close(network.classifier.weight[:3].detach(), F.normalize(centres, dim=1))
        assert torch.equal(network.classifier.weight[3:].detach(), before[3:])
    nearest = method.loss.identity.state_dict().get("nearest")
    assert (nearest is not None) == (option == 3)
    if option == 3:
        assert nearest.tolist() == [[1, 2], [0, 2], [0, 1]]


def test_features_and_plan_of_the_published_run() -> None:
    method = auxusl("DATALOADER.ITERS", 400, "OPTIM.RESET_EVERY_ROUND", True)
    assert (method.cluster_feature, method.retrieval_feature) == ("pooled", "embedding")
    plan = method.plan(clustering(), 0)
    assert (plan.iters, plan.optimizer) == (400, "rebuild") and torch.equal(plan.targets, LABELS)
    assert auxusl("DATALOADER.ITERS_CLUSTER_MULTIPLIER", 0.6).plan(clustering(), 0).iters == 2
    assert auxusl("CLUSTER.FEATURE", "l2").cluster_feature == "pooled_l2"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("MODEL.EMA.ENABLED", False), "a mean teacher and a classifier"),
        (("MODEL.CLASSIFIER", False), "a mean teacher and a classifier"),
        (("OPTIM.SUB_BATCH", 4, "MODEL.BN_CHUNKS", 2), "single-GPU code path"),
    ],
)
def test_what_it_needs_is_said(overrides: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        auxusl(*overrides)


# ------------------------------------------------------------------------------------------------ a step


def expected_losses(method: AuxUSL, rows: slice = slice(None)) -> dict[str, Tensor]:
    """The four losses of some clips, on copies of the networks."""
    student, teacher = copy.deepcopy(method.model), copy.deepcopy(method.teacher.model)
    images = batch().views[0].unflatten(0, (-1, CLIP))[rows].flatten(0, 1)
    said, taught = student(images, CLIP), teacher(images, CLIP)
    outputs = [Outputs(output.pooled, output.logits[:, :3]) for output in (said, taught)]
    return method.loss(*outputs, LABELS[INDICES][rows])


def test_a_step_is_the_four_losses_of_student_and_teacher_on_the_current_clusters() -> None:
    method = planned("MODEL.LOSSES.TRI_OPTION", 2, "MODEL.LOSSES.TRI_LAMBDA", -0.05)
    expected = expected_losses(method)
    found = method.step(batch(), at_step(0)).losses
    assert found.keys() == expected.keys() == {"id", "tri", "soft_id", "soft_tri"}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    torch.stack(list(found.values())).sum().backward()
    gradient = method.model.classifier.weight.grad
    assert gradient is not None and gradient[:3].any() and not gradient[3:].any()
    assert all(p.grad is None for p in method.teacher.parameters())


def test_sub_batches_are_averaged_each_with_its_own_statistics_and_triplets() -> None:
    method = planned("OPTIM.SUB_BATCH", 4)
    parts = [expected_losses(method, slice(start, start + 4)) for start in (0, 4, 8)]
    found = method.step(batch(), at_step(0)).losses
    for name in found:
        torch.testing.assert_close(found[name], torch.stack([part[name] for part in parts]).mean())
    whole = planned().step(batch(), at_step(0)).losses
    assert not torch.equal(found["id"], whole["id"])


@pytest.mark.parametrize(("rule", "step"), [("global", 37), ("epoch", 2 * 10 + 5)])
def test_the_teacher_counts_real_steps_or_by_the_published_formula(rule: str, step: int) -> None:
    method = planned("METHOD.AUXUSL.EMA_STEP", rule, "MODEL.EMA.ALPHA", 0.999)
    teacher, student = method.teacher.model.linear.weight.clone(), method.model.linear.weight.detach()
    method.after_step(None, Position(round=2, epoch=2, epochs=4, step=5, iters=10, global_step=37))
    decay = 1 - 1 / (step + 1)
    torch.testing.assert_close(method.teacher.model.linear.weight, decay * teacher + (1 - decay) * student)


def test_state_goes_on_in_the_middle_of_a_round() -> None:
    method = planned("MODEL.LOSSES.ID_OPTION", 3)
    resumed = auxusl("MODEL.LOSSES.ID_OPTION", 3)
    resumed.model.load_state_dict(method.model.state_dict())
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    for one, other in zip(*(m.step(batch(), at_step(3)).losses.values() for m in (method, resumed)), strict=True):
        assert torch.equal(one, other)


def test_a_state_without_a_row_for_every_label_is_refused() -> None:
    method = planned()
    method.check_plan(RoundPlan(LABELS, 1, 0))
    with pytest.raises(StateError, match="clusters and the plan"):
        method.check_plan(RoundPlan(LABELS + 1, 1, 0))
    method.num_clusters = len(LABELS) + 1
    with pytest.raises(StateError, match="clusters and the plan"):
        method.check_plan(RoundPlan(LABELS, 1, 0))


# ------------------------------------------------------------------------------------------------ constraints


def relation(seed: int) -> DenseRelation:
    matrix = np.random.default_rng(seed).random((len(LABELS),) * 2, dtype=np.float32)
    return DenseRelation((matrix + matrix.T) / 2)


def test_scp_and_sts_raise_the_distances_of_the_graph_in_this_order() -> None:
    method, features = auxusl(), clustering().features
    plain = method.build_graph(features, 0.9)
    scp, sts = Penalty(relation(0), 0.006), SpatioTemporalFactor(relation(1), 0.6, 8.0)
    method.constrain(TrainConstraints((scp, sts)))
    changed = method.build_graph(features, 0.9)
    i, j = plain.i, plain.j
    factor = 1 + 0.6 * torch.exp(-8.0 * sts.relation.at(i, j))
    torch.testing.assert_close(changed.dist, (plain.dist + 0.006 * scp.relation.at(i, j)) * factor)
    assert (changed.dist >= plain.dist).all()


def test_cannot_links_split_what_looks_alike() -> None:
    features = torch.ones(len(LABELS), DIM) + 1e-3 * torch.randn(len(LABELS), DIM)
    everyone = np.arange(len(LABELS))
    odd = everyone % 2
    i, j = np.nonzero(odd[:, None] != odd)
    links = Links.from_pairs(i, j, (len(LABELS), len(LABELS)))
    plain = auxusl("CLUSTER.MIN_SAMPLES", 2).label(0, lambda feature: features)
    assert plain.num_clusters == 1
    method = auxusl("CLUSTER.MIN_SAMPLES", 2, "CLUSTER.ICDBSCAN_OPTION", True, "CLUSTER.ICDBSCAN_RELAXED", -1.0)
    method.constrain(TrainConstraints((), links))
    found = method.label(0, lambda feature: features)
    assert found.num_clusters == 2
    for cluster in range(2):
        assert len(set(odd[(found.labels == cluster).numpy()])) == 1


# ------------------------------------------------------------------------------------------------ whole runs

SMALL_VIDEO = [
    *("DATASETS.SYNTHETIC_VIDEO.TRAIN_IDS", "10"),
    *("DATASETS.SYNTHETIC_VIDEO.TEST_IDS", "6"),
    *("DATASETS.SYNTHETIC_VIDEO.CAMERAS", "3"),
    *("DATASETS.SYNTHETIC_VIDEO.FRAMES", "[5, 8]"),
    *("DATASETS.SYNTHETIC_VIDEO.HEIGHT", "32"),
    *("DATASETS.SYNTHETIC_VIDEO.WIDTH", "16"),
    *("INPUT.SIZE_TRAIN", "[32, 16]", "INPUT.SIZE_TEST", "[32, 16]"),
    *("DATALOADER.ITERS_CLUSTER_MULTIPLIER", "0", "CLUSTER.RHO", "0.1", "CLUSTER.MIN_SAMPLES", "3"),
    *("WARMUP.EPOCHS", "0", "MODEL.BACKBONE.WIDTH", "4", "MODEL.POOLING.STRIPES", "2"),
]

MakeConfig = Callable[..., CfgNode]


@pytest.fixture(scope="session")
def video_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATASETS.ROOT with a few rendered tracklets."""
    return tmp_path_factory.mktemp("video")


@pytest.fixture
def video_run(video_world: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """(KEY, VALUE, ..., output=) -> all the overrides of a short run on rendered tracklets."""

    def overrides(*more: Any, output: str = "run") -> list[str]:
        places = ["DATASETS.ROOT", str(video_world), "OUTPUT_DIR", str(tmp_path / output)]
        return [*SHORT_RUN, *SMALL_VIDEO, *places, "PICKLE_PATH", str(tmp_path / "pickles"), *map(str, more)]

    return overrides


def config(overrides: list[str], name: str = "AuxUSL_synthetic_video.yml") -> CfgNode:
    return load_config(str(CONFIGS / name), overrides)


def test_train_mine_train_with_constraints_and_evaluate(
    video_run: Callable[..., list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole walk: a plain run, its pseudo labels, the six relations, a run and an evaluation with all of them."""
    full = "AuxUSL_synthetic_video_full.yml"
    with pytest.raises(UserError, match=r"(TEST|CLUSTER)\.\w+_PATH: there is neither .*unreid mine"):
        run(config(video_run(), full))
    run(config(video_run()))
    pseudo = tmp_path / "run" / "pseudo_labels.npz"
    mined = ["--config-file", str(CONFIGS / full), "--sts-from", str(pseudo), "--min-count", "1", *video_run()]
    assert MINE.main(mined) == 0
    names = {path.stem for path in (tmp_path / "pickles").glob("*.npz")}
    assert names == {
        "cannotlink_pts",
        "overlap_relation",
        *(f"{kind}_{split}" for kind in ("spatio_temporal_relation", "cross_camera_relation") for split in _SPLITS),
    }
    assert (tmp_path / "pickles" / "spatio_temporal_relation_train.png").is_file()
    keys = read_relation(tmp_path / "pickles" / "cannotlink_pts.npz").rows.keys.tolist()
    labels, meta = load_pseudo_labels(pseudo, keys)
    assert len(labels) == len(keys) and meta == {"method": "AuxUSL", "sts": False, "epoch": 3}

    results = run(config(video_run(output="full"), full))
    checkpoint = str(tmp_path / "full" / "checkpoint.pth")
    again = run(config(video_run("RESUME", checkpoint, "TEST.EVAL_ONLY", True, output="eval"), full))
    assert again["SyntheticVideo"] == results["last"]["SyntheticVideo"]
    plain = run(config(video_run("RESUME", checkpoint, "TEST.EVAL_ONLY", True, output="plain")))
    assert plain["SyntheticVideo"]["mAP"] != again["SyntheticVideo"]["mAP"]


_SPLITS = ("train", "infer")


class StopAt(Hook):
    """Requests a stop after a step, as SIGTERM does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, output: StepOutput) -> None:
        if self.trainer.state.global_step == self.step:
            self.trainer.request_stop("test")


@pytest.mark.parametrize("step", [4, 6])
def test_a_resumed_run_equals_an_uninterrupted_one(
    video_run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """In the middle and at the end of an epoch; the adaptive eps, nearest clusters and classifier go on."""
    monkeypatch.setattr(build, "build_evaluate", lambda *args: None)
    run(config(video_run(output="whole")))
    original = build.build_hooks
    with monkeypatch.context() as patch:
        patch.setattr(build, "build_hooks", lambda *args: [StopAt(step), *original(*args)])
        assert not run(config(video_run(output="cut")))["finished"]
    run(config(video_run("RESUME", str(tmp_path / "cut" / "checkpoint.pth"), output="cut")))
    whole, cut = (load_run(tmp_path / name / "checkpoint.pth") for name in ("whole", "cut"))
    assert whole["method"]["clusterer"] == cut["method"]["clusterer"] and whole["method"]["clusterer"]["eps"]
    for key, value in whole["model"].items():
        assert torch.equal(value, cut["model"][key]), key
    for key, value in whole["method"]["teacher"].items():
        assert torch.equal(value, cut["method"]["teacher"][key]), key


def test_it_trains_on_images_too(video_run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "build_evaluate", lambda *args: None)
    images = [
        "DATASETS.NAMES",
        "['Synthetic']",
        "DATASETS.SYNTHETIC.TRAIN_IDS",
        "8",
        "DATASETS.SYNTHETIC.TEST_IDS",
        "2",
    ]
    assert run(config([*video_run(), *images]))["finished"]
