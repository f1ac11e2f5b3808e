"""Console on rank 0, a file for every rank, never twice."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
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


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_the_caller_closed(tmp_path: Path, closed: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import logging, sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from unreid.engine.cli import guarded\n"
        "from unreid.utils.logging import setup_logging\n"
        "def command():\n"
        "    setup_logging(sys.argv[1])\n"
        "    file = open(sys.argv[1] + '/mine', 'w')\n"
        "    print('printed'); sys.stderr.write('said'); sys.stdin.read()\n"
        "    logging.getLogger('unreid.x').info('logged')\n"
        "    assert file.fileno() > 2\n"
        "sys.exit(guarded(command))\n"
    )
    command = f'exec "$0" "$1" "$2" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(script), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    assert "logged" in (tmp_path / "run" / "log.txt").read_text()
    assert (tmp_path / "run" / "mine").read_text() == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("words", ["print('folder')", "print('folder', flush=True)"])
def test_a_command_whose_standard_output_lies_on_a_full_disk(tmp_path: Path, words: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        f"from unreid.engine.cli import guarded\nsys.exit(guarded(lambda: {words}, 'tool'))\n"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, str(script)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "tool: standard output cannot be written: No space left on device\n"
