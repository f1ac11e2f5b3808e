"""A run's folder says what made it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unreid.config import get_cfg, load_config
from unreid.engine import environment


def test_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tools/main.py", "--config-file", "a b.yml"])
    cfg = load_config(None, ["SEED", "9"])
    environment.write_run_header(tmp_path / "run", cfg)
    again = get_cfg()
    again.merge_from_file(tmp_path / "run" / "config.yaml")
    assert again == cfg
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert facts["command"] == "tools/main.py --config-file 'a b.yml'"
    assert facts["packages"]["torch"] == torch.__version__.split("+")[0] or facts["packages"]["torch"]
    assert facts["packages"]["numpy"] == np.__version__
    assert {"date", "python", "platform", "device", "git_commit", "git_dirty", "unreid", "world_size"} <= set(facts)


def test_an_evaluation_keeps_the_header_of_the_training(tmp_path: Path) -> None:
    environment.write_run_header(tmp_path, load_config())
    environment.write_run_header(tmp_path, load_config(None, ["SEED", "2"]), prefix="eval_")
    assert "SEED: 1" in (tmp_path / "config.yaml").read_text()
    assert "SEED: 2" in (tmp_path / "eval_config.yaml").read_text()


def test_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    facts = environment.collect_environment()
    assert facts["git_commit"] is None and facts["git_dirty"] is None
