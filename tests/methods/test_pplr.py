"""PPLR: what a round sets up, what a step is, with and without cameras, and a whole run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.engine.stored import load_run
from tests.methods.conftest import MakeConfig
from tests.methods.toys import DIM, ToyModel, at_step, toy_batch, toy_method
from unreid.engine.run import run
from unreid.evaluation import FeatureExtractor
from unreid.losses import agreement_smoothed_loss, inter_camera_contrast, refined_label_loss
from unreid.methods import PPLR
from unreid.models.part_heads import PartHeads
from unreid.structures import Clustering, ModelOutput, Position
from unreid.utils.errors import UserError
from unreid.utils.state import StateError

LABELS = torch.tensor([-1, 0, 0, 0, 0, -1, 1, 1, 1, 1, -1, 2, 2, 2, 2])
CAMIDS = torch.arange(len(LABELS)) % 3
BATCH = torch.tensor([6, 9, 7, 8, 11, 13, 14, 12, 1, 4, 2, 3])
PARTS, WIDTH = 2, 5


class ToyPartModel(ToyModel):
    """Halves of the image as parts, with the heads of the real model on a map of their own."""

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        self.classifier = nn.Linear(DIM, classes, bias=False)
        self.map = nn.Conv2d(3, WIDTH, 1)
        self.part_heads = PartHeads(WIDTH, PARTS, num_classes=classes)

    def forward(
        self, images: Tensor, clip_len: int = 1, camids: Tensor | None = None, classes: int | None = None
    ) -> ModelOutput:
        neck = self.bottleneck(self.linear(images.flatten(1)))
        parts, part_logits = self.part_heads(self.map(images), classes=classes)
        return ModelOutput(neck, F.normalize(neck, dim=1), self.classifier(neck)[:, :classes], neck, parts, part_logits)


def pplr(*overrides: Any) -> PPLR:
    needed = ("METHOD.NAME", "PPLR", "MODEL.CLASSIFIER", True, "MODEL.PARTS", PARTS, "METHOD.PPLR.K", 4)
    method = toy_method(*needed, *overrides, camids=CAMIDS, model=ToyPartModel())
    assert isinstance(method, PPLR)
    return method


def clustering() -> Clustering:
    generator = torch.Generator().manual_seed(1)
    features = F.normalize(torch.randn(len(LABELS), DIM, generator=generator), dim=1)
    parts = F.normalize(torch.randn(len(LABELS), PARTS, WIDTH, generator=generator), dim=2)
    return Clustering(LABELS, 3, features=features, part_features=parts)


def in_round(number: int) -> Position:
    return Position(number, number, 50, 0, 10, 10 * number)


def test_a_round_fills_every_classifier_with_unit_centres_and_compares_neighbours() -> None:
    method = pplr()
    before = method.model.part_heads.classifier.detach().clone()
    found = clustering()
    method.plan(found, 0)
    spaces = [found.features, *found.part_features.unbind(1)]
    weights = [method.model.classifier.weight, *method.model.part_heads.classifier]
    for space, weight in zip(spaces, weights):
        centres = torch.stack([space[c == LABELS].mean(0) for c in range(3)])
        torch.testing.assert_close(weight[:3].detach(), F.normalize(centres, dim=1))
    assert torch.equal(method.model.part_heads.classifier[:, 3:].detach(), before[:, 3:])

    near = [torch.cdist(space, space).argsort(1)[:, :4].tolist() for space in spaces]
    for sample in range(len(LABELS)):
        for part in range(PARTS):
            one, other = set(near[0][sample]), set(near[1 + part][sample])
            assert float(method.agreement[sample, part]) == pytest.approx(len(one & other) / len(one | other))


@pytest.mark.parametrize("cameras", [False, True])
@pytest.mark.parametrize("round", [0, 4, 5])
def test_a_step_is_the_published_sum(round: int, cameras: bool) -> None:
    method = pplr("METHOD.PPLR.CAMERAS", cameras, "METHOD.PPLR.CAMERA_WEIGHT", 0.7)
    found = clustering()
    method.plan(found, round)
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    output, y, c = method.model(batch.views[0]), LABELS[BATCH], CAMIDS[BATCH]
    logits, part_logits = output.logits[:, :3], output.part_logits[:, :, :3]
    agreement = method.agreement[BATCH]
    distance = torch.cdist(output.neck, output.neck)
    same = y[:, None] == y
    hardest = distance.masked_fill(~same, 0).amax(1) - distance.masked_fill(same, torch.inf).amin(1)
    expected = {
        "whole": refined_label_loss(logits, part_logits.transpose(1, 2), y, agreement, beta=0.5),
        "parts": torch.stack(
            [
                F.cross_entropy(part_logits[:, p], y, label_smoothing=0.1)
                if round < 5
                else agreement_smoothed_loss(part_logits[:, p], y, agreement[:, p])
                for p in range(PARTS)
            ]
        ).mean(),
        "triplet": F.softplus(hardest).mean(),
    }
    if cameras:
        expected["camera"] = 0.7 * slow_camera_loss(found, output, y, c)
    losses = method.step(batch, in_round(round)).losses
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5)
    torch.stack(list(losses.values())).sum().backward()
    assert method.model.map.weight.grad.any() and method.model.linear.weight.grad.any()


def slow_camera_loss(found: Clustering, output: ModelOutput, y: Tensor, c: Tensor) -> Tensor:
    keys = sorted({(int(label), int(camera)) for label, camera in zip(LABELS, CAMIDS) if label >= 0})
    members = [(label == LABELS) & (camera == CAMIDS) for label, camera in keys]
    labels, cameras = torch.tensor(keys).T

    def contrast(features: Tensor, space: Tensor) -> Tensor:
        rows = F.normalize(torch.stack([space[inside].mean(0) for inside in members]), dim=1)
        return inter_camera_contrast(features, y, c, rows, labels, cameras)

    spaces = found.part_features.unbind(1)
    parts = [contrast(feature, space) for feature, space in zip(output.parts.unbind(1), spaces)]
    return contrast(output.neck, found.features) + torch.stack(parts).mean()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("MODEL.PARTS", 0), r"MODEL\.PARTS 3"),
        (("MODEL.CLASSIFIER", False), r"MODEL\.CLASSIFIER True"),
        (("MODEL.EMA.ENABLED", True), r"no use for MODEL\.EMA\.ENABLED"),
        (("CLUSTER.FEATURE", "raw"), r"no use for CLUSTER\.FEATURE"),
        (("METHOD.EXTRAS", ["camera_entropy"]), r"no use for METHOD\.EXTRAS"),
    ],
)
def test_what_it_needs_is_said(overrides: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        pplr(*overrides)


def test_state_goes_through_a_checkpoint() -> None:
    method, other = pplr("METHOD.PPLR.CAMERAS", True), pplr("METHOD.PPLR.CAMERAS", True)
    method.plan(clustering(), 0)
    other.model.load_state_dict(method.model.state_dict())
    other.load_state_dict(method.state_dict())
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    one, two = (part.step(batch, at_step(0)).losses for part in (method, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("cameras", [True, False])
def test_a_state_without_what_a_step_needs_is_refused(cameras: bool) -> None:
    method = pplr("METHOD.PPLR.CAMERAS", cameras)
    plan = method.plan(clustering(), 0)
    method.check_plan(plan)
    with pytest.raises(StateError, match="the method has 3 clusters and the plan 4"):
        method.check_plan(replace(plan, targets=plan.targets + 1))
    for change in ({"agreement": None}, {"proxies": {} if cameras else {"cluster": torch.zeros(1)}}):
        broken = pplr("METHOD.PPLR.CAMERAS", cameras)
        for name, value in {**vars(method), **change}.items():
            if name in ("num_clusters", "agreement", "proxies"):
                setattr(broken, name, value)
        with pytest.raises(StateError, match="the method lacks 'agreement' or 'proxies'"):
            broken.check_plan(plan)
    method.num_clusters = len(LABELS) + 1
    with pytest.raises(StateError, match="clusters and the plan 3"):
        method.check_plan(plan)


@pytest.mark.parametrize(
    ("name", "wrong", "reason"),
    [
        ("cluster", lambda rows: rows + 1, "names clusters that are not there"),
        ("cluster", lambda rows: rows - 1, "names clusters that are not there"),
        ("camera", lambda rows: rows[1:], "'camera' of 'proxies'"),
        ("whole", lambda rows: rows[1:], "'whole' of 'proxies'"),
        ("parts", lambda rows: rows[:, 1:], "'parts' of 'proxies'"),
        ("parts", lambda rows: rows[:, :, 1:], "'parts' of 'proxies'"),
    ],
)
def test_proxies_that_do_not_fit_are_refused(name: str, wrong: Callable[[Tensor], Tensor], reason: str) -> None:
    method, other = pplr("METHOD.PPLR.CAMERAS", True), pplr("METHOD.PPLR.CAMERAS", True)
    method.plan(clustering(), 0)
    state = method.state_dict()
    proxies = {**state["proxies"], name: wrong(state["proxies"][name])}
    with pytest.raises(StateError, match=reason):
        other.load_state_dict({**state, "proxies": proxies})


def test_a_trained_model_extracts_features(tiny_config: MakeConfig) -> None:
    """The classifiers, whose rows are the training samples, stay behind."""
    cfg = tiny_config("OPTIM.EPOCHS", "1", "METHOD.PPLR.K", "6", file="PPLR_synthetic.yml")
    checkpoint = Path(run(cfg)["checkpoint"])
    assert "part_heads.classifier" in load_run(checkpoint)["model"]
    features = FeatureExtractor.from_checkpoint(checkpoint)(torch.zeros(2, 64, 32, 3, dtype=torch.uint8).numpy())
    assert features.shape[0] == 2 and torch.isfinite(torch.as_tensor(features)).all()


def test_other_methods_leave_the_parts_of_a_model_alone(tiny_config: MakeConfig) -> None:
    assert run(tiny_config("MODEL.PARTS", "2", "OPTIM.EPOCHS", "1"))["finished"]
