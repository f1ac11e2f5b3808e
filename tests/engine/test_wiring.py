"""A run is put together as its config says: what reaches the loop, the loader and the extraction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.data.images import write_image
from unreid.config import CfgNode
from unreid.engine import build
from unreid.engine import data as engine_data
from unreid.engine.checkpoint import encoder_state
from unreid.engine.data import Extraction, Features, build_data, round_loader
from unreid.engine.trainer import Trainer
from unreid.methods import Method, Setup
from unreid.models.ema import MeanTeacher, ema_decay
from unreid.structures import ModelOutput, Position, RoundPlan
from unreid.utils.events import EventStorage

MakeConfig = Callable[..., CfgNode]
CPU = torch.device("cpu")


@pytest.fixture
def built(small_config: MakeConfig) -> Callable[..., Trainer]:
    """The trainer of a config of overrides, as a run builds it."""

    def make(*overrides: str, resumed: bool = False, **options: Any) -> Trainer:
        cfg = small_config("MODEL.BACKBONE.WIDTH", "4", "MODEL.RECALIBRATE_BN", "0", *overrides, **options)
        return build.build_trainer(cfg, Path(cfg.OUTPUT_DIR), CPU, EventStorage(), resumed=resumed)

    return make


def test_the_numbers_of_a_config_reach_their_parts(built: Callable[..., Trainer]) -> None:
    trainer = built(
        *("OPTIM.AMP", "bf16", "OPTIM.CLIP_GRAD", "0.5", "CLUSTER.EVERY", "2", "CLUSTER.MAX_EMPTY_ROUNDS", "5"),
        *("OPTIM.SCHED", "cosine", "OPTIM.EPOCHS", "8", "OPTIM.LR", "0.2", "OPTIM.WARMUP_EPOCHS", "0", "SEED", "11"),
    )
    assert (trainer.precision.clip_grad, trainer.precision.dtype) == (0.5, torch.bfloat16)
    assert (trainer.relabel_every, trainer.guard.max_empty_rounds, trainer.seed) == (2, 5, 11)
    assert trainer.max_epochs == 8
    assert trainer.builders.learning_rate(4) == pytest.approx(0.1, rel=0.05), "half of the cosine"


@pytest.mark.parametrize("reset", ["True", "False"])
def test_a_round_rebuilds_the_optimiser_where_the_config_says_so(built: Callable[..., Trainer], reset: str) -> None:
    method = built("OPTIM.RESET_EVERY_ROUND", reset).method
    found = method.label(
        0, lambda feature: torch.nn.functional.normalize(torch.randn(method.num_samples, method.model.feature_dim))
    )
    assert method.plan(found, 0).optimizer == ("rebuild" if reset == "True" else "keep")


def test_only_the_warm_up_shifts_colours(built: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float | None] = []
    monkeypatch.setattr(build, "round_loader", lambda *args, channel_jitter=None, **kwargs: seen.append(channel_jitter))
    trainer = built("WARMUP.CHANNEL_JITTER", "0.25")
    plan = RoundPlan(torch.arange(4), 1, 1)
    for warmup in (True, False):
        trainer.builders.loader(plan, ("strong",), warmup)
    assert seen == [0.25, None]


def test_a_plan_decides_over_sampler_batch_and_steps(small_config: MakeConfig) -> None:
    cfg = small_config()
    tracklets = build_data(cfg).tracklets
    targets = torch.arange(len(tracklets)) % 9
    cache = build.build_cache(cfg, CPU)
    for options, expected in (
        ({"iters": 7}, (7, 16, "MultiCameraSampler")),
        ({"iters": 0, "sampler": "shuffle", "batch_size": 10}, (len(tracklets) // 10, 10, "ShuffleSampler")),
    ):
        plan = RoundPlan(targets, 1, **options)  # type: ignore[arg-type]
        with round_loader(cfg, tracklets, plan, ("strong",), device=CPU, cache=cache) as loader:
            assert (len(loader), loader.batches.batch_size, type(loader.batches.sampler).__name__) == expected


def test_statistics_are_estimated_before_a_new_run_only(
    built: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(build, "recalibrate_bn", lambda model, batches: counts.append(len(list(batches))))
    built("MODEL.RECALIBRATE_BN", "3")
    built("MODEL.RECALIBRATE_BN", "3", resumed=True)
    assert counts == [3]


@pytest.mark.parametrize(
    ("round", "asked"), [(None, ("test", 0, True)), (-1, ("cluster", 0, False)), (4, ("cluster", 4, False))]
)
def test_images_are_read_for_what_they_are_for(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, round: int | None, asked: tuple[Any, ...]
) -> None:
    """Clips of the round for clustering, everything for the test; the mirror image helps at the test only."""
    cfg = small_config("TEST.FLIP", "True")
    seen: dict[str, Any] = {}
    original, extract = engine_data.build_extract_loader, engine_data.extract_features

    def loader(*args: Any, **options: Any) -> Any:
        seen.update(options)
        return original(*args, **options)

    def features(*args: Any, **options: Any) -> Any:
        seen.update(options)
        return extract(*args, **options)

    monkeypatch.setattr(engine_data, "build_extract_loader", loader)
    monkeypatch.setattr(engine_data, "extract_features", features)
    tracklets = build_data(cfg).tracklets[:3]
    rows = Extraction(cfg, CPU)(_Mean(), tracklets, "pooled", round=round)
    assert rows.values.shape[0] == 3
    assert (seen["purpose"], seen["round"], bool(seen["flip"])) == asked


class _Mean(nn.Module):
    def forward(self, images: torch.Tensor) -> Any:
        pooled = images.mean((2, 3))
        return ModelOutput(pooled, torch.nn.functional.normalize(pooled, dim=1))


def test_tests_are_those_of_the_config_on_the_feature_that_is_retrieved(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = small_config()
    data = build_data(cfg)
    asked: list[str] = []

    def extraction(encoder: nn.Module, tracklets: list[Any], feature: str) -> Features:
        asked.append(feature)
        values = torch.nn.functional.normalize(torch.randn(len(tracklets), 4))
        return Features(values, torch.empty(0, dtype=torch.int64))

    evaluate = build.build_evaluate(cfg, data.tests, extraction, "pooled_l2")  # type: ignore[arg-type]
    assert evaluate is not None
    assert list(evaluate(nn.Identity())) == ["Synthetic"] and asked == ["pooled_l2"] * 2


def test_other_sets_than_the_trained_one_can_be_tested(small_config: MakeConfig, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    for split in ("train", "query", "gallery"):
        for person in (1, 2):
            for camera in (1, 2):
                write_image(crops / split / f"{person}" / f"{person}_c{camera}_{split}.png", seed=person)
    cfg = small_config(
        "DATASETS.TESTS",
        "['ImageFolder']",
        "DATASETS.FOLDER.PATH",
        str(crops),
        "DATASETS.FOLDER.CAMERA_REGEX",
        r"_c(\d)_",
    )
    data = build_data(cfg)
    assert [dataset.name for dataset in data.tests] == ["ImageFolder"]
    assert len(data.tracklets) > 12 and len(np.unique([t.camid for t in data.tracklets])) == 3


def test_the_evaluated_network_is_the_teacher_where_there_is_one() -> None:
    student, teacher = {"w": torch.zeros(1)}, {"model.w": torch.ones(1), "other": torch.ones(1)}
    assert encoder_state({"model": student, "method": {}}) is student
    assert encoder_state({"model": student, "method": {"teacher": teacher}}) == {"w": teacher["model.w"]}


def test_the_teacher_follows_by_the_steps_of_the_whole_run() -> None:
    """The ramp of its decay goes on over epochs: at step 9 of the run it is 0.9, not 0 as in a first step."""
    student = nn.Linear(1, 1, bias=False)
    teacher = MeanTeacher(student, alpha=0.999)
    method = Method(Setup(student, torch.zeros(4, dtype=torch.int64), epochs=4, iters=9, teacher=teacher))
    before = teacher.model.weight.item()
    with torch.no_grad():
        student.weight += 1.0
    method.after_step(None, Position(round=1, epoch=1, epochs=4, step=0, iters=9, global_step=9))
    assert teacher.model.weight.item() == pytest.approx(before + 1 - ema_decay(9, 0.999))
    assert ema_decay(9, 0.999) != ema_decay(0, 0.999)


def test_an_epoch_has_a_step_however_few_clusters_there_are() -> None:
    method = Method(Setup(nn.Linear(1, 1), torch.zeros(4), epochs=1, iters=9))
    assert method.iterations(3) == 9
    method.iters_per_cluster = 0.5
    assert [method.iterations(count) for count in (1, 2, 5, 100)] == [1, 1, 2, 50]
