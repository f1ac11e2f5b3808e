"""Every code block of docs/compose.md is run as a user would: pasted into a file and named in PLUGINS."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.docs.blocks import DOCS, commands, python_blocks
from tests.engine.stored import load_run
from tests.engine.test_runs import assert_same_weights, stop_at
from tests.methods.conftest import MakeConfig
from unreid.clustering import CLUSTERERS
from unreid.config import load_config
from unreid.engine.run import run
from unreid.evaluation import FeatureExtractor
from unreid.losses import LOSSES
from unreid.memory import DIVERSITY_MODES, MEMORIES, UPDATE_RULES
from unreid.methods import METHODS
from unreid.methods.parts import PARTS
from unreid.utils.errors import UserError

PAGE = "compose.md"
REGISTRIES = (METHODS, CLUSTERERS, MEMORIES, UPDATE_RULES, DIVERSITY_MODES, PARTS, LOSSES)


@pytest.fixture(autouse=True)
def _leave_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example registers is gone after the test."""
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_table", dict(registry._table))
        monkeypatch.setattr(registry, "_names", dict(registry._names))


def pasted(folder: Path, *containing: str) -> list[str]:
    """Files with the blocks that contain each of the texts."""
    files = []
    for text in containing:
        (block,) = [block for block in python_blocks(PAGE) if text in block]
        files.append(folder / f"{re.sub(r'[^a-z]', '', text.lower())}.py")
        files[-1].write_text(block)
    return [str(file) for file in files]


def test_the_method_of_the_page_trains_and_resumes(
    tmp_path: Path, tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = pasted(tmp_path, 'METHODS.register("SoftNeighbors")')

    def make(*overrides: Any, output: str) -> Any:
        settings = ("PLUGINS", f"['{file}']", "METHOD.NAME", "SoftNeighbors", "WARMUP.EPOCHS", "1")
        return tiny_config(*settings, *overrides, output=output)

    whole = make("MODEL.EMA.ENABLED", "True", output="whole")
    assert run(whole)["finished"]
    losses = (Path(whole.OUTPUT_DIR) / "metrics.jsonl").read_text()
    assert "loss/soft" in losses
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        cut = make("MODEL.EMA.ENABLED", "True", output="cut")
        assert not run(cut)["finished"]
    checkpoint = str(Path(cut.OUTPUT_DIR) / "checkpoint.pth")
    assert run(make("MODEL.EMA.ENABLED", "True", "RESUME", checkpoint, output="cut"))["finished"]
    states = [load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth") for cfg in (whole, cut)]
    assert_same_weights(states[0]["model"], states[1]["model"])
    assert torch.equal(states[0]["method"]["centres"], states[1]["method"]["centres"])


def test_the_method_of_the_page_is_about_forty_lines() -> None:
    (block,) = [block for block in python_blocks(PAGE) if "SoftNeighbors" in block]
    assert sum(bool(line.strip()) for line in block.splitlines()) <= 45


def test_the_parts_of_the_page_train_together(tmp_path: Path, tiny_config: MakeConfig) -> None:
    files = pasted(tmp_path, '"agglomerative"', '"margin"', '"mean"', '"uniformity"')
    cfg = tiny_config(
        *("PLUGINS", str(files), "CLUSTER.NAME", "agglomerative", "MEMORY.NAME", "margin", "MEMORY.UPDATE", "mean"),
        *("METHOD.EXTRAS", "['uniformity', 'camera_entropy']", "OPTIM.EPOCHS", "2"),
    )
    assert run(cfg)["finished"]
    assert "loss/uniformity" in (Path(cfg.OUTPUT_DIR) / "metrics.jsonl").read_text()


def test_no_block_is_left_out() -> None:
    assert len(python_blocks(PAGE)) == 6


def test_the_key_of_the_page_trains_resumes_and_is_checked(tmp_path: Path, tiny_config: MakeConfig) -> None:
    (file,) = pasted(tmp_path, '"spread"')
    settings = (f"PLUGINS={file}", "METHOD.EXTRAS=spread", "METHOD.SPREAD.WEIGHT=0.25", "OPTIM.EPOCHS", "2")
    cfg = tiny_config(*settings, output="spread")
    assert run(cfg)["finished"]
    assert "loss/spread" in (Path(cfg.OUTPUT_DIR) / "metrics.jsonl").read_text()
    assert load_config(Path(cfg.OUTPUT_DIR) / "config.yaml") == cfg
    checkpoint = f"{cfg.OUTPUT_DIR}/checkpoint.pth"
    assert run(tiny_config(*settings, "OPTIM.EPOCHS", "3", f"RESUME={checkpoint}", output="spread"))["finished"]
    with pytest.raises(UserError, match=r"METHOD\.SPREAD\.WEIGHT must be between 0 and 10, got 11"):
        tiny_config(*settings, "METHOD.SPREAD.WEIGHT", "11")
    FeatureExtractor.from_checkpoint(checkpoint)  # features do not depend on the part: the plug-in is not asked for
    FeatureExtractor.from_checkpoint(checkpoint, plugins=[file], overrides=["METHOD.SPREAD.WEIGHT", "0.5"])


def test_the_command_lines_of_the_page_are_valid_configs(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("soft_neighbors.py", 'METHODS.register("SoftNeighbors")'), ("spread.py", '"spread"')):
        Path(pasted(tmp_path, text)[0]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    lines = commands(PAGE, "python tools/main.py")
    assert len(lines) == 3
    with caplog.at_level(logging.WARNING):
        for arguments in lines:
            assert arguments[0] == "--config-file"
            load_config(DOCS.parent / arguments[1], arguments[2:])
    assert not caplog.messages


def test_names_on_the_page_exist() -> None:
    """Every name in the first column of the table of combinations is registered, or is a config key."""
    table = (DOCS / PAGE).read_text().split("## What goes with what")[1].split("## Adding")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert len(names) >= 10
    for name in names:
        assert "." in name or any(name in registry for registry in REGISTRIES), name
        if "." in name:
            node: Any = load_config()
            for key in name.split("."):
                node = getattr(node, key)
