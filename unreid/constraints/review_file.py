"""Answers of a person as a file: the store of the review page, or a table that was written by hand or by a program."""

from __future__ import annotations

import contextlib
import csv
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from unreid.constraints.answers import Answers
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

MAGIC = b"SQLite format 3\x00"
APPLICATION = 0x75524944
"""``PRAGMA application_id`` of the page's store ("uRID")."""
VERSION = 1
"""``PRAGMA user_version`` of the same."""
UNASSIGNED, NOISE = -1, -2
"""Labels in the store beside identities: not assigned to one yet, and marked as nobody."""
COLUMNS = ("first", "second", "verdict", "speaks_for")
VERDICTS = ("same", "different", "noise")
SPEAKS_FOR = ("crops", "clusters")

_JUDGED = """
    SELECT a.key, b.key, a.label, b.label, judgement.whole FROM judgement
    JOIN action ON action.id = judgement.action AND NOT action.undone
    JOIN crop AS a ON a.id = judgement.a JOIN crop AS b ON b.id = judgement.b
    ORDER BY judgement.action, judgement.a, judgement.b
"""


class Decision(NamedTuple):
    """One row: ``verdict`` about two keys, or about one ("noise", ``second`` empty)."""

    first: str
    second: str
    verdict: str
    whole: bool


def read_decisions(path: str | Path) -> list[Decision]:
    """The decisions of a store of ``unreid review`` or of a CSV with the header first,second,verdict,speaks_for.

    A pair that was judged in the page is read as the page shows it now: whatever came later counts.

    Raises:
        UserError: the file is missing, damaged, or neither of the two.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except OSError as error:
        raise UserError(f"The review {path} cannot be read: {error.strerror or error}.") from None
    return _from_store(path) if head == MAGIC else _from_table(path)


def as_text(content: bytes) -> str:
    """A text of the store; names of files need not be UTF-8."""
    return content.decode("utf-8", "surrogateescape")


def open_readonly(path: Path) -> sqlite3.Connection:
    """A store for reading, also while the page is open; ``text_factory`` gives names as the system has them."""
    uri = "file:" + quote(str(path.resolve()))
    try:
        connection = sqlite3.connect(uri + "?mode=ro", uri=True, timeout=10)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:  # the folder may not be written to, where a log could be kept
            connection.close()
            connection = sqlite3.connect(uri + "?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as error:
        raise UserError(f"The review {path} cannot be read: {error}.") from None
    connection.text_factory = as_text
    return connection


def check_store(connection: sqlite3.Connection, path: Path) -> None:
    """Raises :class:`UserError` unless it is a store of the review page, of this version."""
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise UserError(f"The review {path} is damaged: {error}.") from None
    if application != APPLICATION:
        raise UserError(f"{path} is a SQLite file, but not one that unreid review wrote.")
    if version != VERSION:
        raise UserError(f"{path} was written by another release (version {version} of the file; this one: {VERSION}).")


def _from_store(path: Path) -> list[Decision]:
    with contextlib.closing(open_readonly(path)) as connection:
        check_store(connection, path)
        try:
            judged = connection.execute(_JUDGED).fetchall()
            noise = connection.execute("SELECT key FROM crop WHERE label = ? ORDER BY id", (NOISE,)).fetchall()
        except sqlite3.Error as error:
            raise UserError(f"The review {path} is damaged: {error}.") from None
    found: dict[tuple[str, str], Decision] = {}
    for first, second, one, other, whole in judged:
        if NOISE in (one, other):
            continue
        verdict = "same" if one == other and one >= 0 else "different"
        before = found.get((first, second))
        found[first, second] = Decision(first, second, verdict, bool(whole) or (before is not None and before.whole))
    return [*found.values(), *(Decision(key, "", "noise", False) for (key,) in noise)]


def _from_table(path: Path) -> list[Decision]:
    found = []
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if tuple(header) != COLUMNS:
                raise ValueError(f"its first line is not {','.join(COLUMNS)}")
            for row in rows:
                if row:
                    found.append(_decision(row, rows.line_num))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is neither a review of unreid review nor a table of answers: {error}.") from None
    return found


def _decision(row: Sequence[str], line: int) -> Decision:
    if len(row) != len(COLUMNS):
        raise ValueError(f"line {line} has {len(row)} fields instead of {len(COLUMNS)}")
    first, second, verdict, speaks_for = row
    if verdict not in VERDICTS:
        raise ValueError(f"line {line} has the verdict {verdict!r}; known: {', '.join(VERDICTS)}")
    if speaks_for not in SPEAKS_FOR:
        raise ValueError(f"line {line} speaks for {speaks_for!r}; known: {', '.join(SPEAKS_FOR)}")
    if not first or bool(second) == (verdict == "noise"):
        raise ValueError(f"line {line} names {'no' if not first else 'one'} crop where {verdict} needs others")
    return Decision(first, second, verdict, speaks_for == "clusters")


def load_answers(paths: Iterable[str | Path], keys: Sequence[str]) -> Answers:
    """The answers of all files about the samples of a training list.

    Of answers that contradict each other, directly or over must-links, the later one counts (later in a file, or in a
    later file); a warning says so.

    Args:
        keys: of the N samples, see :func:`~unreid.constraints.records.record_keys`.

    Raises:
        UserError: a file cannot be read, or knows none of the keys.
    """
    position = {key: number for number, key in enumerate(keys)}
    decisions: list[Decision] = []
    for path in paths:
        given = read_decisions(path)
        known = [one for one in given if one.first in position and (not one.second or one.second in position)]
        if given and not known:
            raise UserError(
                f"The review {path} knows none of the {len(keys)} training samples ({given[0].first} ...): it is of "
                "another data set."
            )
        others = f", {len(given) - len(known)} about other samples" if len(known) < len(given) else ""
        logger.info("%s: %d answers about the training list%s", path, len(known), others)
        decisions += known
    kept, dropped = consistent(decisions)
    if dropped:
        first = dropped[0]
        logger.warning(
            "%d answers contradict later ones and are left out, such as: %s and %s are %s",
            len(dropped),
            first.first,
            first.second or "nobody",
            "the same" if first.verdict == "same" else "two",
        )
    pairs = {
        verdict: [(position[one.first], position[one.second], one.whole) for one in kept if one.verdict == verdict]
        for verdict in ("same", "different")
    }
    noise = sorted({position[one.first] for one in kept if one.verdict == "noise"})
    same, apart = (np.array(pairs[verdict], dtype=np.int64).reshape(-1, 3) for verdict in ("same", "different"))
    return Answers(
        len(keys),
        same[:, :2],
        apart[:, :2],
        same[:, 2].astype(bool),
        apart[:, 2].astype(bool),
        np.array(noise, dtype=np.int64),
    )


def consistent(decisions: Sequence[Decision]) -> tuple[list[Decision], list[Decision]]:
    """The decisions without those that later ones contradict, and those, both in their order."""
    noise: set[str] = set()
    parent: dict[str, str] = {}
    enemies: dict[str, set[str]] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    kept: list[Decision] = []
    dropped: list[Decision] = []
    for one in reversed(decisions):
        if one.verdict == "noise":
            fits = one.first not in parent
            noise |= {one.first} if fits else set()
        else:
            fits = noise.isdisjoint((one.first, one.second))
            a, b = (root(one.first), root(one.second)) if fits else ("", "")
            if one.verdict == "same":
                fits = fits and b not in enemies.get(a, ())
                if fits and a != b:
                    parent[b] = a
                    theirs = enemies.pop(b, set())
                    enemies.setdefault(a, set()).update(theirs)
                    for enemy in theirs:
                        enemies[enemy] = (enemies[enemy] - {b}) | {a}
            else:
                fits = fits and a != b
                if fits:
                    enemies.setdefault(a, set()).add(b)
                    enemies.setdefault(b, set()).add(a)
        (kept if fits else dropped).append(one)
    return kept[::-1], dropped[::-1]
