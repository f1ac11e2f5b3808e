"""Console on rank 0, a file for every rank, never twice."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from unreid.utils.logging import close_logging, setup_logging


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    level = logging.getLogger("unreid").level
    yield
    close_logging()
    logging.getLogger("unreid").setLevel(level)


def test_rank_zero_talks_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        setup_logging(tmp_path / "run")
    logging.getLogger("unreid.some.module").info("hello")
    assert capsys.readouterr().out == "hello\n"
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("hello") == 1 and "unreid.some.module" in text


def test_other_ranks_only_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(tmp_path, rank=2)
    logging.getLogger("unreid.x").warning("quiet")
    assert capsys.readouterr().out == ""
    assert "quiet" in (tmp_path / "log.rank2.txt").read_text()
    assert not (tmp_path / "log.txt").exists()


def test_a_second_run_appends_and_leaves_foreign_handlers(tmp_path: Path) -> None:
    foreign = logging.NullHandler()
    logging.getLogger("unreid").addHandler(foreign)
    try:
        for word in ("one", "two"):
            setup_logging(tmp_path)
            logging.getLogger("unreid").info(word)
        text = (tmp_path / "log.txt").read_text()
        assert "one" in text and "two" in text
        assert foreign in logging.getLogger("unreid").handlers
    finally:
        logging.getLogger("unreid").removeHandler(foreign)


def test_levels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(None, level=logging.WARNING)
    logging.getLogger("unreid.x").info("no")
    logging.getLogger("unreid.x").warning("yes")
    assert capsys.readouterr().out == "yes\n"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_names_that_are_no_text_do_not_lose_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr("sys.stdout", console)
    monkeypatch.setattr("logging.raiseExceptions", True)
    # The runner keeps what its own handler sees for the report, which parallel workers send as text.
    monkeypatch.setattr(logging.getLogger("unreid"), "propagate", False)
    complaints = io.StringIO()
    monkeypatch.setattr("sys.stderr", complaints)
    setup_logging(tmp_path).warning("left out: %s", os.fsdecode(b"caf\xe9 \xff.jpg") + " \u4e2d")
    close_logging()
    console.flush()
    assert b"left out: caf\\udce9 \\udcff.jpg" in console.buffer.getvalue()
    assert "left out: caf\\udce9 \\udcff.jpg \u4e2d" in (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert not complaints.getvalue()
