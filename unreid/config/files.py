"""The text of a config file, read only where reading ends: from a regular file of a size that configs have."""

from __future__ import annotations

import codecs
import stat
from pathlib import Path

from unreid.config.shipped import suggestion
from unreid.config.wording import shown
from unreid.utils.errors import UserError

MAX_BYTES = 256 * 1024


def read_text(path: Path, asked_by: str = "") -> str:
    """The file as text, UTF-8 or, with a byte order mark, UTF-16.

    Args:
        asked_by: who names it, for messages: empty or " (...)".

    Raises:
        UserError: there is no such file, or it is not regular, not readable, too large, or not text.
    """
    name = f"config file {shown(str(path)) or repr('')}{asked_by}"
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            what = "folder" if stat.S_ISDIR(kind) else "pipe or device, not a regular file"
            raise UserError(f"The {name} cannot be read: it is a {what}.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"There is no {name}{suggestion(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"The {name} cannot be read: {reason}.") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"The {name} cannot be read: it has more than {MAX_BYTES // 1024} KiB, which is no config.")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"The {name} cannot be read: it is not {'UTF-16' if wide else 'UTF-8'} text (byte {error.start})."
        ) from None
