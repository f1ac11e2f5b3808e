"""The commands of docs/own_crops.md run one after the other on rendered crops, on a network that was not trained."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch

from tests.docs.blocks import commands
from unreid.config import load_config
from unreid.engine.cli import main
from unreid.models.checkpoint_format import Checkpoint
from unreid.models.embedding import EmbeddingModel
from unreid.rendering.layouts import render_layout
from unreid.utils.io import atomic_save


def needs_more(words: list[str]) -> bool:
    """Training takes hours, the page waits for a person, and ONNX's exporter takes half a minute."""
    return words[0] == "train" or words in (["review", "identities.csv"],) or "model.onnx" in words


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("lancedb", "safetensors"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    world = render_layout("market1501", "world", ids=6, cameras=2, images=3, size=(48, 24))
    shutil.copytree(world / "bounding_box_train", "crops")
    shutil.copytree(world / "query", "new")
    tiny = ["MODEL.BACKBONE.NAME", "resnet_tiny", "MODEL.BACKBONE.PRETRAIN", False, "INPUT.SIZE_TEST", [48, 24]]
    cfg = load_config(None, tiny)
    torch.manual_seed(0)
    state = EmbeddingModel.from_config(cfg, pretrained=False).state_dict()
    atomic_save(Checkpoint(state, cfg.dump(), {}, "embedding").pack(), "logs/crops/checkpoint.pth")
    lines = [words for words in commands("own_crops.md", "unreid") if not needs_more(words)]
    assert len(lines) == 10
    for words in lines:
        small = ["--set", "CLUSTER.MIN_SAMPLES", "2", "--set", "CLUSTER.K1", "6"] if words[0] == "cluster" else []
        assert main([*words, *small]) == 0, words
    with open("found.csv", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 5 * len(list(Path("new").iterdir())) and {row["camera"] for row in found} == {"1", "2"}
    for name in ("identities.csv", "corrected.csv", "again.csv", "new.csv", "model.safetensors", "model.torchscript"):
        assert Path(name).stat().st_size > 0
