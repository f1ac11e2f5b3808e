"""Weight files on disk: reading without running code, conversion, and the command."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.convert_checkpoint import main
from unreid.models.base import create_backbone
from unreid.models.convert import convert_file, weights_for
from unreid.models.embedding import EmbeddingModel
from unreid.models.pooling import build_pooling
from unreid.models.weight_files import find_state, read_file
from unreid.utils.errors import UserError

from .reference_nets import random_state

SMALL = "resnet18_cdsm_avg"


def resnet18(pooling: str = "avg", **options: object) -> EmbeddingModel:
    return EmbeddingModel(create_backbone("resnet18", **{"last_stride": 2, **options}), build_pooling(pooling))


def test_numpy_scalars_and_namespaces_are_read_safely(tmp_path: Path) -> None:
    content = {
        "state_dict": {"a": torch.ones(2)},
        "best_mAP": np.float64(0.25),
        "best_top1": np.float32(0.5),
        "epoch": np.int64(3),
        "args": argparse.Namespace(arch="vit_small"),
    }
    torch.save(content, tmp_path / "f.pth.tar")
    found = read_file(tmp_path / "f.pth.tar")
    assert found["best_mAP"] == 0.25 and found["best_top1"] == 0.5 and found["args"].arch == "vit_small"
    assert list(find_state(found, "f")) == ["a"]


def test_scalars_pickled_by_an_old_numpy_are_read(tmp_path: Path) -> None:
    torch.save({"best_mAP": np.float64(0.25), "w": torch.ones(1)}, tmp_path / "new.pth")
    old = tmp_path / "old.pth"
    torch.save({"best_mAP": np.float64(0.25), "w": torch.ones(1)}, old, _use_new_zipfile_serialization=False)
    old.write_bytes(old.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_file(old)["best_mAP"] == read_file(tmp_path / "new.pth")["best_mAP"] == 0.25


def leave_trace(path: Path) -> None:
    path.touch()


class Payload:
    """Runs :func:`leave_trace` if it is ever unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return leave_trace, (self.trace,)


def test_a_file_that_would_run_code_is_refused_with_the_way_out(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"state_dict": random_state(SMALL), "x": Payload(trace)}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match=r"(?s)bad\.pth was refused.*leave_trace.*--trust"):
        read_file(tmp_path / "bad.pth")
    assert not trace.exists()
    assert "state_dict" in read_file(tmp_path / "bad.pth", trust=True)
    assert trace.exists()


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weight file .*nothing.pth"):
        read_file(tmp_path / "nothing.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="text.pth"):
        read_file(tmp_path / "text.pth")
    torch.save(random_state(SMALL), tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cut.pth"):
        read_file(tmp_path / "cut.pth")
    with pytest.raises(UserError, match="no state dict"):
        find_state({"epoch": 3}, "f.pth")


def test_conversion_there_and_back(tmp_path: Path) -> None:
    state = random_state(SMALL)
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "best_mAP": np.float64(1)}, tmp_path / "a")
    convert_file(tmp_path / "a", tmp_path / "b")
    content = torch.load(tmp_path / "b", weights_only=True)
    assert (content["format"], content["version"]) == ("unreid", 1)
    assert content["config_hints"]["MODEL.BACKBONE.NAME"] == "resnet18"
    model = resnet18()
    model.load_state_dict(weights_for(content, model), strict=True)
    convert_file(tmp_path / "b", tmp_path / "c", to="cdsm")
    again = torch.load(tmp_path / "c", weights_only=True)["state_dict"]
    assert all(torch.equal(again[f"module.{k}"], v) for k, v in state.items())


def test_a_published_file_needs_the_right_config(caplog: pytest.LogCaptureFixture) -> None:
    state = random_state(SMALL)
    with pytest.raises(UserError, match=r"no GeM exponent: set MODEL.POOLING.NAME avg"):
        weights_for(state, resnet18("gem"))
    with pytest.raises(UserError, match=r"has GeM exponent: set MODEL.POOLING.NAME gem"):
        weights_for({**state, "gap.p": torch.ones(1)}, resnet18())
    with pytest.raises(UserError, match="MODEL.BACKBONE.STEM_RELU True"):
        weights_for(state, resnet18(stem_relu=False))
    weights_for(state, resnet18("max"))  # average and maximum leave no trace
    assert not [r for r in caplog.records if r.levelname == "WARNING"]
    weights_for(state, resnet18(last_stride=1))
    assert "LAST_STRIDE" in caplog.text


def test_the_command_converts_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(random_state(SMALL), tmp_path / "a.pth")
    assert main(["--in", str(tmp_path / "a.pth"), "--out", str(tmp_path / "b.pth"), "--from", "cdsm"]) == 0
    printed = capsys.readouterr().out
    assert "125 tensors" in printed and "MODEL.BACKBONE.NAME resnet18" in printed
    assert torch.load(tmp_path / "b.pth", weights_only=True)["format"] == "unreid"


def test_the_command_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--in", str(tmp_path / "none.pth"), "--out", str(tmp_path / "b.pth")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("convert_checkpoint: --in: ") and error.count("\n") == 1
    assert not (tmp_path / "b.pth").exists()
