"""``Key``: one config key in one place, with its default, what it may be, what it means, and its former names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unreid.config.conditions import Rule
from unreid.config.values import coerce
from unreid.config.wording import BROKEN


@dataclass(frozen=True)
class Key:
    """The declaration of a key; its full name is what it is declared under.

    Args:
        default: bool, int, float, str, or a list of one of these (an empty list holds texts): the type of the key.
        rule: what values of that type are allowed.
        text: what the key means, in one line.
        formerly: full old names that are still read, with a warning.

    Raises:
        ValueError: the default has another type or does not obey the rule, or the text is not one line.
    """

    default: Any
    rule: Rule
    text: str
    formerly: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        items = self.default if isinstance(self.default, list) else [self.default]
        if any(type(item) not in (bool, int, float, str) for item in items) or len({type(item) for item in items}) > 1:
            raise ValueError(f"the default of a key is a bool, int, float, str or a list of one, not {self.default!r}")
        if coerce(self.default, self.default) != self.default or not self.rule.accepts(self.default):
            raise ValueError(f"the default {self.default!r} of a key must be {self.rule.allowed}")
        if not self.text.strip() or BROKEN.search(self.text):
            raise ValueError(f"the text of a key is one line that says what it means, not {self.text!r}")

    def same_as(self, other: Key) -> bool:
        """Whether two declarations say the same; rules are compared by their wording."""
        mine, theirs = ((one.default, type(one.default), one.rule.allowed, one.text) for one in (self, other))
        return mine == theirs


@dataclass(frozen=True)
class Section:
    """What the keys of a section have in common, where their names do not say it."""

    text: str
