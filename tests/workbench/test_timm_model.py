"""A network of timm as MODEL, with weights from a file: no download, and never random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unreid.engine.cli import main
from unreid.workbench import read_features

timm = pytest.importorskip("timm")


@pytest.fixture
def weights(place: Path) -> Path:
    torch.manual_seed(2)
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), place / "resnet.pth")
    return place / "resnet.pth"


def test_extract_index_search_and_export_take_it(weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = ["--set", "MODEL.BACKBONE.PRETRAIN_PATH", str(weights), "--set", "INPUT.SIZE_TEST", "[64, 32]"]
    size = [*model, "--set", "INPUT.SIZE_TRAIN", "[64, 32]"]
    assert main(["extract", "timm/test_resnet", "crops", "-o", "t.npz", *size]) == 0
    table = read_features("t.npz")
    network = timm.create_model("test_resnet", pretrained=False)
    assert table.vectors.shape == (20, network.num_features) and table.meta.model == "timm/test_resnet"
    assert main(["export", "timm/test_resnet", "-o", "t.torchscript", *size]) == 0
    assert main(["extract", "t.torchscript", "crops", "-o", "again.npz"]) == 0
    again = read_features("again.npz")
    assert again.meta.fingerprint == table.meta.fingerprint
    assert np.allclose(again.vectors, table.vectors, atol=1e-5)
    if (weights.parent / "g.index").exists():
        assert main(["index", "crops", "--model", "timm/test_resnet", "-o", "t.index", *size]) == 0
        assert main(["search", "t.index", "again.npz", "-k", "1", "-o", "found.csv"]) == 0
        assert main(["search", "t.index", "crops", "-k", "1", "-o", "other.csv", *size]) == 0
        assert Path("found.csv").read_text() == Path("other.csv").read_text()
    capfd.readouterr()
    state = torch.load(weights)
    torch.save({name: value for name, value in state.items() if not name.startswith("layer")}, weights)
    assert main(["extract", "timm/test_resnet", "crops", "-o", "part.npz", *size]) == 2
    assert "of the backbone's tensors fit" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["timm/test_resnet", "resnet50", "osnet_x0_25"])
def test_random_weights_are_no_model(place: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    random = ["--set", "MODEL.BACKBONE.PRETRAIN", "False"]
    for words in (
        ["extract", name, "crops", "-o", "out.npz"],
        ["cluster", "crops", "--model", name, "-o", "out.csv"],
        ["export", name, "-o", "out.torchscript"],
    ):
        assert main([*words, *random]) == 2
        assert "has random weights, whose vectors mean nothing" in capfd.readouterr().err
    assert main(["extract", name, "crops", "-o", "o.npz", "--set", "MODEL.INIT_PATH", "checkpoint.pth"]) == 2
    assert f"say checkpoint.pth instead of {name}" in capfd.readouterr().err


def test_a_misspelt_network_is_refused_at_once(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", "timm/test_resnt", "crops", "-o", "out.npz"]) == 2
    assert "timm has no network named" in capfd.readouterr().err
