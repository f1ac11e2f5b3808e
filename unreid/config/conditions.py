"""Conditions on one config value, each with its wording."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LARGEST = 10**9  # of counts and sizes that nothing else bounds
MAX_LIST = 1000  # values of a list


@dataclass(frozen=True)
class Rule:
    """A condition on one value, its wording, which completes "KEY must be ...", and what becomes of the value."""

    allowed: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Any] = lambda value: value


def choice(*values: Any) -> Rule:
    """One of the values."""
    return Rule("one of " + ", ".join(repr(value) for value in values), lambda value: value in values)


def between(low: float, high: float) -> Rule:
    """From ``low`` to ``high``, both included."""
    return Rule(f"between {_number(low)} and {_number(high)}", lambda value: low <= value <= high)


def at_least(low: float) -> Rule:
    """``low`` or more, up to a thousand million: more of anything is a slip, and beyond int64 a crash."""
    return between(low, LARGEST)


def above(low: float, high: float) -> Rule:
    """More than ``low``, up to ``high``."""
    return Rule(f"above {_number(low)} and at most {_number(high)}", lambda value: low < value <= high)


def share() -> Rule:
    """Above 0, up to 1."""
    return Rule("above 0 and at most 1", lambda value: 0 < value <= 1)


def decay() -> Rule:
    """From 0 up to, not including, 1."""
    return Rule("at least 0 and below 1", lambda value: 0 <= value < 1)


def each(rule: Rule, length: int | None = None, empty: bool = False) -> Rule:
    """A list whose values all obey ``rule``; with ``length``, exactly that many of them."""
    count = f"{length} values" if length else "a list of values" if empty else "a list of one or more values"

    def accepts(values: Any) -> bool:
        right_length = len(values) == length if length else (0 if empty else 1) <= len(values) <= MAX_LIST
        return right_length and all(rule.accepts(value) for value in values)

    return Rule(f"{count}, each {rule.allowed}", accepts)


def matching(pattern: str, allowed: str) -> Rule:
    """Text that matches a regular expression as a whole."""
    return Rule(allowed, lambda value: re.fullmatch(pattern, value) is not None)


def capturing_regex() -> Rule:
    """A regular expression with a group, or nothing."""

    def accepts(value: str) -> bool:
        try:
            with warnings.catch_warnings(action="ignore"):  # of spellings that may change their meaning one day
                return not value or re.compile(value).groups >= 1
        except (re.error, OverflowError, RecursionError):
            return False

    return Rule("a valid regular expression with a group in parentheses, or empty", accepts)


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# What many keys share. Every number has two bounds: what lies outside cannot be meant, and would end a run in an
# overflow, a crash, or memory without end.
SWITCH = Rule("True or False", lambda value: True)
TEXT = Rule("text", lambda value: True, os.path.expanduser)  # paths, and a name that is looked up where it is used
FOLDER = Rule("a folder", bool, os.path.expanduser)
NAME = matching(r"\S.*", "a name")
EPOCHS = between(0, 10**6)
STEPS = between(1, 10**6)
BATCH = between(1, 2**16)
ROWS = between(1, 2**16)  # of a matrix that are computed at once
NEIGHBORS = between(1, 10**5)
TEMPERATURE = between(1e-4, 1e4)
RATE = between(0, 1e3)  # of learning
WEIGHT = between(0, 1e4)  # of a part of a loss or a distance
STRENGTH = between(0, 10)  # of an augmentation
PIXELS = between(1, 4096)
WORLD = between(1, 10**5)  # identities, images, frames of the rendered benchmark
