"""Start weights: prefixes of the usual files, what is reported, and what is refused."""

from __future__ import annotations

import logging
import urllib.error
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unreid.config import get_cfg
from unreid.models.backbone import build_backbone
from unreid.models.base import create_backbone
from unreid.models.pretrained import fill_backbone, load_pretrained, published_weights
from unreid.utils.errors import UserError


def donor() -> dict[str, Tensor]:
    torch.manual_seed(4)
    return {
        key: torch.randn_like(value, dtype=torch.float32)
        for key, value in create_backbone("resnet18").state_dict().items()
    }


DONOR = donor()


def same(state: dict[str, Tensor]) -> bool:
    return all(torch.equal(state[key], DONOR[key]) for key in DONOR if "num_batches" not in key)


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "backbone.", "module.encoder_q.", "module.base_encoder.", "state_dict.", "model.", "encoder."],
)
def test_any_prefix_is_found(prefix: str) -> None:
    net = create_backbone("resnet18")
    state = {prefix + key: value for key, value in DONOR.items()} | {f"{prefix}fc.weight": torch.zeros(5, 512)}
    report = fill_backbone(net, state, min_match=0.9)
    assert same(net.state_dict())
    assert report.prefix == prefix and report.share == 1.0 and report.left_over == (f"{prefix}fc.weight",)


@pytest.mark.parametrize(("wanted", "other"), [("encoder_q.", "encoder_k."), ("base_encoder.", "momentum_encoder.")])
def test_of_two_encoders_the_trained_one_is_taken(wanted: str, other: str) -> None:
    net = create_backbone("resnet18")
    state = {f"module.{other}{key}": torch.zeros_like(value) for key, value in DONOR.items()}
    state |= {f"module.{wanted}{key}": value for key, value in DONOR.items()} | {"module.queue": torch.zeros(3)}
    assert fill_backbone(net, state, min_match=0.9).prefix == f"module.{wanted}"
    assert same(net.state_dict())


def test_dino_files_give_their_teacher(tmp_path: Path) -> None:
    teacher = {f"module.backbone.{key}": value for key, value in DONOR.items()}
    student = {key: torch.zeros_like(value) for key, value in teacher.items()}
    torch.save({"student": student, "teacher": teacher, "epoch": 3}, tmp_path / "dino.pth")
    net = create_backbone("resnet18")
    load_pretrained(net, "resnet18", path=str(tmp_path / "dino.pth"))
    assert same(net.state_dict())


def test_an_incomplete_file_is_reported(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    state = {key: value for key, value in DONOR.items() if key != "layer4.1.bn2.weight"}
    state["layer4.1.bn2.bias"] = torch.zeros(7)
    torch.save({"state_dict": state}, tmp_path / "part.pth")
    with caplog.at_level(logging.INFO):
        report = load_pretrained(create_backbone("resnet18"), "resnet18", path=str(tmp_path / "part.pth"))
    assert report.missing == ("layer4.1.bn2.weight",) and report.misshaped == ("layer4.1.bn2.bias",)
    assert "98 of 100 backbone tensors loaded" in caplog.text and "1 missing: layer4.1.bn2.weight" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"


def test_a_file_of_another_network_is_refused_and_changes_nothing() -> None:
    net = create_backbone("resnet50")
    before = net.conv1.weight.clone()
    with pytest.raises(UserError, match=r"(?s)Only \d+% .*MIN_MATCH.*MODEL.BACKBONE.NAME"):
        fill_backbone(net, DONOR, min_match=0.9)
    assert torch.equal(net.conv1.weight, before)
    with pytest.raises(UserError, match="Only 0%"):
        fill_backbone(net, {"unrelated": torch.zeros(1)}, min_match=0.9)


def test_plain_weights_do_not_pass_for_ibn() -> None:
    with torch.device("meta"):
        plain = create_backbone("resnet50").state_dict()
        net = create_backbone("resnet50_ibn_a")
    with pytest.raises(UserError, match="Only 7"):
        fill_backbone(net, plain, min_match=0.9)


def test_weights_that_cannot_be_downloaded_say_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "/nonexistent/hub")
    monkeypatch.setattr("os.makedirs", lambda *args, **kwargs: None)
    for name in ("resnet50", "resnet50_ibn_a", "vit_small"):
        with pytest.raises(UserError, match=r"could not be downloaded.*PRETRAIN_PATH.*PRETRAIN False"):
            published_weights(name)


@pytest.mark.parametrize(("name", "version"), [("resnet18", "V2"), ("resnet_tiny", "V1")])
def test_weights_that_do_not_exist_are_explained(name: str, version: str) -> None:
    with pytest.raises(UserError, match=rf"no published weights {version} for {name}"):
        published_weights(name, version)


def test_the_config_decides(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(DONOR, tmp_path / "w.pth")
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "resnet18", "MODEL.BACKBONE.PRETRAIN_PATH", str(tmp_path / "w.pth")])
    assert same(build_backbone(cfg).state_dict())
    assert "pixel mean" not in caplog.text
    assert not same(build_backbone(cfg, pretrained=False).state_dict())
    cfg.merge_from_list(["INPUT.PIXEL_MEAN", "[0.5, 0.5, 0.5]"])
    build_backbone(cfg)
    assert "pixel mean" in caplog.text
    cfg.merge_from_list(["MODEL.BACKBONE.PRETRAIN", "False"])
    assert not same(build_backbone(cfg).state_dict())
