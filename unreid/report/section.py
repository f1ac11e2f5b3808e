"""A part of the page."""

from __future__ import annotations

from dataclasses import dataclass

from unreid.report.markup import Html


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        name: of its anchor.
        title: heading, also in the list of contents.
        style: of the page's head.
    """

    name: str
    title: str
    body: Html
    style: Html = Html("")
