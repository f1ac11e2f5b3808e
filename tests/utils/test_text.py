"""Text files of every origin: byte order marks, line ends, and the line of what is no text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unreid.utils.errors import UserError
from unreid.utils.text import read_text, text_lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "a.txt").write_bytes(f"caf\u00e9 1{end}{end}  two\u2028lines {end}".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "caf\u00e9 1\n\n  two\u2028lines \n"
    assert text_lines(tmp_path / "a.txt") == [(1, "caf\u00e9 1"), (3, "two\u2028lines")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"one\ntwo\ncaf\xe9\n", r"a.txt, line 3, cannot be read: it is not UTF-8 text \(byte 0xe9\)"),
        ("one\ntwo".encode("utf-16-le"), "line 1, cannot be read: it holds a NUL byte"),
        (b"\xff\xfea", "cannot be read: it is not UTF-16 text"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        read_text(tmp_path / "a.txt")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe"):
        with pytest.raises(UserError, match="it is not a file"):
            read_text(tmp_path / name)
    with pytest.raises(UserError, match="none.txt cannot be read: No such file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(UserError, match="cannot be read"):
        read_text("a\0b")
