"""Names of identities and cameras: put in order, numbered, and looked at for those that may mean the same."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping

logger = logging.getLogger(__name__)

_LARGEST = 2**63 - 1
_NUMBER = re.compile(r"[0-9]{1,255}")


def in_natural_order(texts: Iterable[str]) -> list[str]:
    """The distinct texts, "cam2" before "cam10"."""

    def natural(text: str) -> list[tuple[int, str]]:
        parts = re.split(r"([0-9]+)", text)  # words and numbers in turn
        return [(len(p.lstrip("0")), p.lstrip("0")) if k % 2 else (0, p) for k, p in enumerate(parts)]

    return sorted(set(texts), key=lambda text: (natural(text), text))  # the text itself decides between a7 and a07


def camera_numbers(texts: Iterable[str]) -> dict[str, int]:
    """0, 1, ... in natural order."""
    return {text: number for number, text in enumerate(in_natural_order(texts))}


def identity_numbers(texts: Iterable[str]) -> dict[str, int]:
    """A number for every name, different for different names.

    Names that are all numbers below 2**63, each written in one way, keep them; else they are numbered 1, 2, ... in
    natural order.
    """
    names = set(texts)
    if all(_NUMBER.fullmatch(name) for name in names):
        values = {name: int(name) for name in names}
        if len(set(values.values())) == len(names) and max(values.values(), default=0) <= _LARGEST:
            return values
    return {name: number for number, name in enumerate(in_natural_order(names), start=1)}


def say_lookalikes(owner: str, kind: str, texts: Iterable[str], verdict: str = "taken as different") -> None:
    """Warns of names that differ only in zeros in front, case, form, blanks, or characters that do not show."""
    groups: dict[str, list[str]] = {}
    for text in in_natural_order(texts):
        groups.setdefault(_essence(text), []).append(text)
    doubtful = [group for group in groups.values() if len(group) > 1]
    if doubtful:
        examples = "; ".join(" and ".join(map(repr, group[:3])) for group in doubtful[:3])
        logger.warning("%s: %d %s names look alike and are %s: %s", owner, len(doubtful), kind, verdict, examples)


def say_spellings(owner: str, kind: str, spellings: Mapping[int, set[str]]) -> None:
    """Warns of numbers that file names spell in several ways and that count as one."""
    several = {number: texts for number, texts in spellings.items() if len(texts) > 1}
    if several:
        say_lookalikes(owner, kind, {text for texts in several.values() for text in texts}, "taken as one")


def _essence(text: str) -> str:
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in ("Cf", "Cc"))
    plain = re.sub(r"\s+", "", shown).casefold()
    return re.sub(r"(?<![0-9.])0+(?=[0-9])", "", plain)
