"""Weights of this project's own networks, however they were saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.engine.checkpoint import load_model
from unreid.models.convert import convert_file, load_weights
from unreid.models.embedding import EmbeddingModel
from unreid.models.pooling import build_pooling
from unreid.models.pretrained import load_pretrained
from unreid.models.resnet_tiny import TinyResNet
from unreid.models.weight_files import CONTAINERS
from unreid.utils.errors import UserError


def network(width: int = 4, pooling: str = "gem", classes: int = 0, seed: int = 0) -> EmbeddingModel:
    torch.manual_seed(seed)
    return EmbeddingModel(TinyResNet(width=width), build_pooling(pooling), num_classes=classes)


WANTED = network().state_dict()


def loads(content: Any) -> bool:
    model = network(seed=1)
    load_weights(content, model, "x.pth")
    return all(torch.equal(value, WANTED[key]) for key, value in model.state_dict().items())


@given(
    prefix=st.lists(st.sampled_from(["module.", "_orig_mod.", "model.", "net."]), max_size=4).map("".join),
    inside=st.sampled_from(["", "_orig_mod.", "module."]),
    containers=st.lists(st.sampled_from(CONTAINERS), max_size=3),
    own=st.booleans(),
    extra=st.booleans(),
)
def test_wrappers_and_containers_are_taken_off(
    prefix: str, inside: str, containers: list[str], own: bool, extra: bool
) -> None:
    content: Any = {prefix + key.replace("backbone.", f"backbone.{inside}"): value for key, value in WANTED.items()}
    if extra:
        content[prefix + "classifier.weight"] = torch.zeros(9, 32)
    if own:
        content = {"format": "unreid", "version": 1, "model": content}
    else:
        for container in containers:
            content = {container: content, "epoch": 3}
    assert loads(content)


def test_weights_of_torchs_own_wrappers_load() -> None:
    model = network()
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.DataParallel(model))
    assert loads(averaged.state_dict())
    assert loads(torch.compile(model).state_dict())


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state}], ids=["bare", "contained"])
def test_every_entrance_takes_a_bare_state_dict(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    torch.save(wrap({f"module.{key}": value for key, value in WANTED.items()}), tmp_path / "x.pth")
    model = network(seed=1)
    load_model(tmp_path / "x.pth", model)
    assert all(torch.equal(value, WANTED[key]) for key, value in model.state_dict().items())
    convert_file(tmp_path / "x.pth", tmp_path / "y.pth")
    assert loads(torch.load(tmp_path / "y.pth", weights_only=True))
    model = network(seed=2)
    assert load_pretrained(model.backbone, "resnet_tiny", path=str(tmp_path / "x.pth"), min_match=1.0).share == 1.0
    assert torch.equal(model.backbone.state_dict()["conv1.weight"], WANTED["backbone.conv1.weight"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"pooling.p": None}, "has no GeM exponent: set MODEL.POOLING.NAME avg"),
        ({"bottleneck.weight": None}, "it lacks 'bottleneck.weight'"),
        ({"backbone.conv1.weight": torch.zeros(8, 3, 3, 3)}, "another shape for 'backbone.conv1.weight'"),
        ({"backbone.conv1.weight": WANTED["backbone.conv1.weight"].long()}, "another type for 'backbone.conv1.weight'"),
        ({"backbone.surplus": torch.zeros(1)}, "has the unknown 'backbone.surplus'"),
        ({"backbone.conv1.weight": WANTED["backbone.conv1.weight"] * torch.inf}, "NaN or infinite"),
        ({"module.pooling.p": torch.ones(1)}, "two tensors for 'pooling.p'"),
        ({7: torch.ones(1)}, "names a tensor 7"),
    ],
)
def test_refusals_name_the_true_reason(change: dict[Any, Any], complaint: str) -> None:
    state = {key: value for key, value in {**WANTED, **change}.items() if value is not None}
    model = network(seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=f"x.pth.*{complaint}"):
        load_weights(state, model, "x.pth")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_strangers_are_told_from_wrong_models() -> None:
    with pytest.raises(UserError, match=r"such as 'layer.0.weight'.*neither to the configured model"):
        load_weights({"layer.0.weight": torch.ones(1)}, network(), "x.pth")


def test_half_precision_weights_are_taken() -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in WANTED.items()}
    model = network()
    load_weights(half, model, "x.pth")
    found = model.state_dict()
    assert all(torch.equal(found[key], value.to(found[key].dtype)) for key, value in half.items())
