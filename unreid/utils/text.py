"""Text files that people and spreadsheets wrote: byte order marks, line ends, and a sentence for the rest."""

from __future__ import annotations

import codecs
from pathlib import Path

from unreid.utils.errors import UserError

_MARKS = (  # longest first: UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, or in the encoding that its byte order mark names; line ends become ``\\n``.

    Raises:
        UserError: there is no such file, or it is not text in that encoding (with the number of the line).
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} cannot be read: it is not a file.")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error}.") from error
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + content[: error.start].count(b"\n")
        raise UserError(
            f"{path}, line {line}, cannot be read: it is not {encoding.removesuffix('-sig').upper()} text (byte "
            f"0x{content[error.start]:02x}); save the file as UTF-8."
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = 1 + text[: text.index("\0")].count("\n")
        raise UserError(f"{path}, line {line}, cannot be read: it holds a NUL byte; save the file as UTF-8 text.")
    return text


def text_lines(path: str | Path) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, each with its number (from 1); see :func:`read_text`."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]
