"""HTML that is escaped unless it was made here: no file name, however it is spelt, becomes markup."""

from __future__ import annotations

import html
import re
from typing import Any

_VOID = {"img", "br", "meta", "input", "hr", "use", "path", "line", "rect", "circle", "polyline"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Text that is HTML already."""


def escaped(text: Any) -> Html:
    """Any text as HTML; bytes of file names that are no text, and what no page may hold, are spelt out."""
    if isinstance(text, Html):
        return text
    plain = _CONTROL.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", str(text))
    return Html(html.escape(plain, quote=True))


def tag(element: str, /, *inside: Any, **attributes: Any) -> Html:
    """An element. ``class_`` is ``class``, ``data_x`` is ``data-x``; None and False leave an attribute out.

    Example:
        >>> tag("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    words = [element]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escaped(value)}"')
    opening = " ".join(words)
    if element in _VOID and not inside:
        return Html(f"<{opening}>" if element in ("img", "br", "meta", "input", "hr") else f"<{opening}/>")
    return Html(f"<{opening}>{joined(*inside)}</{element}>")


def joined(*parts: Any) -> Html:
    """Parts one after the other, those that are no HTML escaped; lists are looked into, None is left out."""
    found = []
    for part in parts:
        if part is None:
            continue
        found.append(joined(*part) if isinstance(part, (list, tuple)) else escaped(part))
    return Html("".join(found))


def table(head: list[Any], rows: list[list[Any]], *, caption: str = "", numbers: bool = True) -> Html:
    """A table whose first column names the row, inside a box that scrolls where the screen is narrow."""
    kind = "number" if numbers else None
    first = [tag("th", cell, scope="col", class_=kind if place else None) for place, cell in enumerate(head)]
    body = [
        tag("tr", tag("th", row[0], scope="row"), [tag("td", cell, class_=kind) for cell in row[1:]]) for row in rows
    ]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption) if caption else None,
            tag("thead", tag("tr", first)),
            tag("tbody", body),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption or "table",
    )


def note(text: Any) -> Html:
    """A remark."""
    return tag("p", text, class_="note")
