"""The blocks of docs/library.md run one after the other, and so do the examples."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import unreid
from tests.docs.blocks import DOCS, python_blocks
from unreid.data.datasets import Synthetic

EXAMPLES = DOCS.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_blocks_of_the_page_run() -> None:
    blocks = python_blocks("library.md")
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "library.md", "exec"), names)
    assert names["features"].shape == (6, 128) and 0 < names["result"].mAP <= 1


def test_the_table_of_the_page_names_everything() -> None:
    table = (DOCS / "library.md").read_text().split("| --- | --- |")[1].split("The rooms")[0]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(set(unreid.__all__) - {"Clustering"})


def test_the_plain_loop_improves_on_the_untrained_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From random weights on a small rendered world."""
    from unreid.rendering.knobs import WorldKnobs

    knobs = WorldKnobs(train_ids=24, test_ids=12, cameras=3, images_per_camera=(4, 4))
    folder = Synthetic(tmp_path, knobs, workers=1).folder
    small = "--backbone resnet_tiny --from-scratch --size 64 32 --epochs 3 --iters 15 --batch-size 32 --instances 4"
    layout = ["--train", "bounding_box_train", "--gallery", "bounding_box_test"]
    names = ["--camera-regex", r"c(\d+)", "--pid-regex", r"(\d+)_c"]
    rates = ["--lr", "3e-3", "--eps", "0.4", "--k1", "16"]
    torch.manual_seed(0)
    scores = example("plain_loop").main([str(folder), *layout, *names, *small.split(), *rates])
    assert len(scores) == 4 and max(scores[1:]) > scores[0] + 10
    assert capsys.readouterr().out.count("clusters, loss") == 3
    assert len((EXAMPLES / "plain_loop.py").read_text().splitlines()) < 100


def test_the_plain_loop_trains_without_a_test_set(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(24):
        colour = np.full((32, 16, 3), 60 * (number % 4), np.uint8) + rng.integers(0, 20, (32, 16, 3), dtype=np.uint8)
        Image.fromarray(colour).save(tmp_path / f"{number:03}.png")
    small = "--backbone resnet_tiny --from-scratch --size 64 32 --epochs 1 --iters 2 --batch-size 8 --instances 2"
    scores = example("plain_loop").main([str(tmp_path), "--train", ".", "--k1", "6", "--eps", "0.7", *small.split()])
    assert np.isnan(scores).all()


def test_the_scikit_learn_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = example("sklearn_style")
    reports = module.main([])
    assert set(reports) == {"DBSCAN", "HDC", "pipeline", "scikit-learn"}
    assert all(report["ari"] > 0.9 for report in reports.values())
    assert reports["DBSCAN"] == reports["scikit-learn"]
    np.savez(tmp_path / "features.npz", x=module.made_up()["x"])
    assert module.main([str(tmp_path / "features.npz")]) == {}
    assert "mINP" in capsys.readouterr().out
