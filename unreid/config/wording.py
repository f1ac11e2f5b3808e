"""Foreign text inside a message: short, on one line, and printable whatever it holds."""

from __future__ import annotations

import re

BROKEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line separators, and lone surrogates, which no file of UTF-8 text can hold."""

_LONGEST = 120


def shown(text: str) -> str:
    """``text`` as it may stand in a sentence: broken characters escaped, the middle of a long text left out."""
    if len(text) > _LONGEST:
        text = f"{text[:50]}... ({len(text)} characters) ...{text[-50:]}"
    return BROKEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
