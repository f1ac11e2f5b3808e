"""What a practitioner has: crops, a model, a table, identities, an index."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from tests.workbench.test_extraction import checkpoint, crops, make_checkpoint, make_crops
from unreid.engine.cli import main

__all__ = ["checkpoint", "crops"]


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``crops``, ``checkpoint.pth``, ``f.npz``, ``i.csv``, and ``g.index`` where LanceDB is installed."""
    folder = tmp_path_factory.mktemp("workbench")
    make_crops(folder)
    make_checkpoint(folder)
    small = ["--set", "CLUSTER.MIN_SAMPLES", "2", "--set", "CLUSTER.K1", "6", "--eps", "0.9"]
    with contextlib.chdir(folder):
        for words in (
            ["extract", "checkpoint.pth", "crops", "-o", "f.npz", "--camera-regex", r"_(c\d)"],
            ["cluster", "f.npz", "-o", "i.csv", *small],
            ["index", "f.npz", "-o", "g.index", "--identities", "i.csv"],
        ):
            with contextlib.suppress(ModuleNotFoundError):
                if words[0] == "index":
                    import lancedb  # noqa: F401
                assert main(words) == 0, words
    return folder


@pytest.fixture
def place(tmp_path: Path, begun: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a copy of all that."""
    shutil.copytree(begun, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"
