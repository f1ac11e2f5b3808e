"""The store of a review: one SQLite file in which every action is one transaction.

What is acknowledged is on the disk: it outlives ``kill -9`` and, as commits are synchronous, a power cut.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from unreid.constraints.review_file import APPLICATION, VERSION, as_text, check_store
from unreid.utils.errors import UserError
from unreid.utils.lockfile import LockFile
from unreid.utils.writing import writing

logger = logging.getLogger(__name__)

_SCHEMA = (
    # Labels as they were found and as they are now: an identity from 0 on, UNASSIGNED or NOISE.
    "CREATE TABLE crop (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, start INTEGER NOT NULL,"
    " label INTEGER NOT NULL)",
    "CREATE TABLE action (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL,"
    " detail TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE change (action INTEGER NOT NULL REFERENCES action ON DELETE CASCADE, crop INTEGER NOT NULL,"
    " before INTEGER NOT NULL, after INTEGER NOT NULL, PRIMARY KEY (action, crop)) WITHOUT ROWID",
    # Pairs that an action was about. What was said about them stands in the labels: the same one, or two.
    "CREATE TABLE judgement (action INTEGER NOT NULL REFERENCES action ON DELETE CASCADE, a INTEGER NOT NULL,"
    " b INTEGER NOT NULL, whole INTEGER NOT NULL, PRIMARY KEY (action, a, b)) WITHOUT ROWID",
    "CREATE TABLE progress (revision INTEGER NOT NULL, next_label INTEGER NOT NULL)",
)


@dataclass(frozen=True)
class Action:
    """One action of a person.

    Attributes:
        kind: "merge", "split", ...
        detail: what it was done to; plain JSON values.
        crops, before, after: int64 (M,), whose label changed, from what, to what.
        pairs: int64 (L, 3), crops that were judged, and whether they stood for their clusters.
    """

    kind: str
    detail: dict[str, Any]
    crops: np.ndarray
    before: np.ndarray
    after: np.ndarray
    pairs: np.ndarray


class Store:
    """The file, opened by one process at a time (see :meth:`open`).

    Attributes:
        labels: int64 (N,), as they are now.
        start: int64 (N,), as they were found.
        revision: grows by one with every action, undo and redo.
        next_label: identity that no crop ever had.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path
        self._load()

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str | Path, keys: Sequence[str], labels: np.ndarray) -> Iterator[Self]:
        """Opens the store of a set, or makes one that starts from ``labels``.

        Args:
            keys: of the N crops, in their order.
            labels: int64 (N,); what a store that is there already has wins over them.

        Raises:
            UserError: the file is of other crops, is no store, is open elsewhere, or cannot be written.
        """
        path = Path(path)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with LockFile(path.with_name(path.name + ".lock"), f"The review {path}"):
            try:
                connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            except sqlite3.Error as error:
                raise UserError(f"The review {path} cannot be opened: {error}.") from None
            with contextlib.closing(connection):
                try:
                    store = cls._begin(connection, path, keys, labels)
                except sqlite3.Error as error:
                    raise UserError(f"The review {path} cannot be used: {error}.") from None
                yield store

    @classmethod
    def _begin(cls, connection: sqlite3.Connection, path: Path, keys: Sequence[str], labels: np.ndarray) -> Self:
        connection.text_factory = as_text
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(connection, keys, labels)
        check_store(connection, path)  # before anything of another program's file is changed
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        stored = [key for (key,) in connection.execute("SELECT key FROM crop ORDER BY id")]
        if stored != list(keys):
            raise UserError(
                f"The review {path} is of other crops ({len(stored)}, the set has {len(keys)}): name another file with "
                "--store."
            )
        return cls(connection, path)

    def _load(self) -> None:
        run = self._connection.execute
        rows = run("SELECT start, label FROM crop ORDER BY id").fetchall()
        self.start, self.labels = np.array(rows, dtype=np.int64).reshape(-1, 2).T.copy()
        self.revision, self.next_label = run("SELECT revision, next_label FROM progress").fetchone()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def add(self, action: Action, *, next_label: int | None = None) -> None:
        """Writes an action; what was undone before it cannot be redone any more.

        Raises:
            sqlite3.Error: nothing was written.
        """
        run = self._connection
        following = self.next_label if next_label is None else next_label
        with self._transaction():
            run.execute("DELETE FROM action WHERE undone")
            number = run.execute(
                "INSERT INTO action (at, kind, detail) VALUES (?, ?, ?)",
                (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), action.kind, json.dumps(action.detail)),
            ).lastrowid
            changes = np.stack((action.crops, action.before, action.after), axis=1).tolist()
            run.executemany("INSERT INTO change VALUES (?, ?, ?, ?)", [(number, *row) for row in changes])
            judged = [(number, *row) for row in action.pairs.tolist()]
            run.executemany("INSERT OR REPLACE INTO judgement VALUES (?, ?, ?, ?)", judged)
            self._write(action.crops, action.after)
            run.execute("UPDATE progress SET next_label = ?", (following,))
        self.next_label = following
        self._taken_over(action.crops, action.after)

    def undo(self) -> Action | None:
        """Takes the newest action back and returns it; None if there is none."""
        return self._turn("SELECT max(id) FROM action WHERE NOT undone", undone=True)

    def redo(self) -> Action | None:
        """Does the oldest action that was taken back once more and returns it; None if there is none."""
        return self._turn("SELECT min(id) FROM action WHERE undone", undone=False)

    def _turn(self, query: str, *, undone: bool) -> Action | None:
        number = self._connection.execute(query).fetchone()[0]
        if number is None:
            return None
        action = self._read(number)
        target = action.before if undone else action.after
        with self._transaction():
            self._connection.execute("UPDATE action SET undone = ? WHERE id = ?", (int(undone), number))
            self._write(action.crops, target)
        self._taken_over(action.crops, target)
        return action

    def _write(self, crops: np.ndarray, labels: np.ndarray) -> None:
        rows = zip(labels.tolist(), crops.tolist())
        self._connection.executemany("UPDATE crop SET label = ? WHERE id = ?", rows)
        self._connection.execute("UPDATE progress SET revision = revision + 1")

    def _taken_over(self, crops: np.ndarray, labels: np.ndarray) -> None:
        """After the commit only: the memory follows the disk."""
        self.labels[crops] = labels
        self.revision += 1

    def _read(self, number: int) -> Action:
        run = self._connection.execute
        kind, detail = run("SELECT kind, detail FROM action WHERE id = ?", (number,)).fetchone()
        changes = run("SELECT crop, before, after FROM change WHERE action = ? ORDER BY crop", (number,)).fetchall()
        crops, before, after = np.array(changes, dtype=np.int64).reshape(-1, 3).T
        pairs = run("SELECT a, b, whole FROM judgement WHERE action = ?", (number,)).fetchall()
        found = np.array(pairs, dtype=np.int64).reshape(-1, 3)
        return Action(kind, json.loads(detail), crops, before, after, found)

    def actions(self) -> list[Action]:
        """All actions that count, oldest first."""
        numbers = self._connection.execute("SELECT id FROM action WHERE NOT undone ORDER BY id").fetchall()
        return [self._read(number) for (number,) in numbers]

    def pending(self) -> tuple[str | None, str | None]:
        """Kinds of the actions that undo and redo would turn; None where there is none."""
        run = self._connection.execute
        last = run("SELECT kind FROM action WHERE NOT undone ORDER BY id DESC LIMIT 1").fetchone()
        following = run("SELECT kind FROM action WHERE undone ORDER BY id LIMIT 1").fetchone()
        return last and last[0], following and following[0]


def _create(connection: sqlite3.Connection, keys: Sequence[str], labels: np.ndarray) -> None:
    """All in one transaction: a process that dies on the way leaves an empty file, which the next one fills."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO crop VALUES (?, CAST(? AS TEXT), ?, ?)",
        (
            (number, key.encode("utf-8", "surrogateescape"), label, label)
            for number, (key, label) in enumerate(zip(keys, labels.tolist()))
        ),
    )
    connection.execute("INSERT INTO progress VALUES (0, ?)", (int(labels.max(initial=-1)) + 1,))
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
