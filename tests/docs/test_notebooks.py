"""The notebooks run from the first cell to the last, and show what they say."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    expected = [[kinds(output) for output in cell.outputs] for cell in book.cells if cell.cell_type == "code"]
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    found = [[kinds(output) for output in cell.outputs] for cell in book.cells if cell.cell_type == "code"]
    assert [len(outputs) > 0 for outputs in found] == [len(outputs) > 0 for outputs in expected]
    assert any("image/png" in output for outputs in found for output in outputs)


def kinds(output: dict) -> set[str]:
    return set(output.get("data", {"text": ""}))


def test_there_are_two() -> None:
    assert len(NOTEBOOKS) == 2
