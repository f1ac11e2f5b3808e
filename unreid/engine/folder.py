"""The folder of a run: what a run leaves in it, who may write to it, and what a new start may remove."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from unreid.utils.errors import UserError
from unreid.utils.lockfile import LockFile

logger = logging.getLogger(__name__)

AUTO = "auto"
"""Value of ``RESUME``: the newest checkpoint of ``OUTPUT_DIR``, where there is one."""

CHECKPOINT = "checkpoint.pth"
RESULTS = "results.json"
NUMBERED = "checkpoint_[0-9]*.pth"
BEST = "model_best.pth"
LOGS = ("log.txt", "log.rank[0-9]*.txt")
EVALUATION_PREFIX = "eval_"

# What training took time to make, and what a new start writes anew.
_PRECIOUS = (RESULTS, CHECKPOINT, NUMBERED, BEST)
_REST = (
    "config.yaml",
    "environment.json",
    "metrics.jsonl",
    "rounds.csv",
    "rounds.png",
    "pseudo_labels.npz",
    "ranked_list.jpg",
    "trackers.json",
    "tensorboard/events.out.tfevents.*",
)
_EVALUATION = ("evaluation.json", "eval_config.yaml", "eval_environment.json", "eval_log.txt", "eval_ranked_list.jpg")


class RunFolder:
    """``OUTPUT_DIR`` of one run.

    Args:
        path: the folder; it need not exist.
        evaluation: the run only evaluates. Its files have names of their own, so it may share the folder of a training
            that is going on or over; two evaluations at once may not.
    """

    def __init__(
        self, path: str | Path, *, resume: str = "", overwrite: bool = False, evaluation: bool = False
    ) -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        self.evaluation = evaluation
        self.resume = resume

    @property
    def lock(self) -> LockFile:
        """The lock that a run holds while it writes."""
        name, what = (".eval.lock", "The evaluation in OUTPUT_DIR") if self.evaluation else (".lock", "OUTPUT_DIR")
        return LockFile(self.path / name, f"{what} {self.path}")

    def newest(self) -> Path | None:
        """The newest checkpoint, if there is one."""
        newest = self.path / CHECKPOINT
        return newest if os.path.isfile(newest) else None

    def goes_on(self) -> bool:
        """Whether ``RESUME`` names this folder's own run."""
        if self.resume == AUTO:
            return self.newest() is not None
        return bool(self.resume) and Path(self.resume).resolve().parent == self.path.resolve()

    def check(self) -> None:
        """Whether this run may begin here, asked without writing anything.

        Raises:
            UserError: the folder cannot be written; another run is using it; or it holds an earlier run that the
                config neither goes on with nor allows to be removed.
        """
        check_writable(self.path, "OUTPUT_DIR")
        self._check_kinds()
        if self.path.is_dir():
            self.lock.check()
        self.check_free()

    def check_free(self) -> None:
        """Raises :class:`UserError` if a new start would lose what an earlier run left."""
        if self.evaluation or self.overwrite or self.goes_on():
            return
        left = self._found(_PRECIOUS)
        if self.resume == AUTO and all(path.name == BEST for path in left):
            return  # a run that was killed before its first checkpoint begins anew, and selects the same model
        if not left:
            return
        ways = ["choose another OUTPUT_DIR", "remove that run with OVERWRITE True"]
        models = [path for path in left if path.suffix == ".pth" and path.name != BEST]
        if models:
            best = max(models, key=lambda path: (path.name == CHECKPOINT, len(path.name), path.name))
            # With RESUME auto a folder is entered by its checkpoint.pth alone.
            value = AUTO if best.name == CHECKPOINT and self.resume == "" else str(best)
            ways.insert(0, f"go on with it (RESUME {value})")
        state = "a finished run" if _is_finished(self.path / RESULTS) else "an unfinished run"
        raise UserError(
            f"OUTPUT_DIR {self.path} holds {state} ({left[0].name}): {', '.join(ways[:-1])}, or {ways[-1]}."
        )

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Makes the folder, locks it, and removes what an earlier run left, unless this run goes on with it.

        Nothing but the lock has been written when this raises; folders that were made for it are gone again.

        Raises:
            UserError: as :meth:`check`, which other processes may have overtaken; or the folder cannot be made.
        """
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock = self.lock.__enter__()
            except OSError as error:
                raise UserError(f"OUTPUT_DIR {self.path} cannot be written: {error.strerror or error}.") from None
        except UserError:
            _remove_empty(made)
            raise
        with contextlib.ExitStack() as stack:
            stack.push(lock)
            try:
                self.check_free()
            except UserError:
                stack.close()
                _remove_empty(made)
                raise
            if not (self.evaluation or self.goes_on()):
                self._clear()
            yield

    def _clear(self) -> None:
        """Removes files of an earlier run, by their names and no others; logs only where it was asked for."""
        old = self._found((*_PRECIOUS, *_REST, *(LOGS if self.overwrite else ())))
        if self._found(_PRECIOUS):
            logger.warning("OVERWRITE: %d files of an earlier run in %s are removed", len(old), self.path)
        for path in old:
            try:
                path.unlink()
            except OSError as error:
                raise UserError(f"{path} of an earlier run cannot be removed: {error.strerror}.") from None

    def _found(self, patterns: tuple[str, ...]) -> list[Path]:
        return [
            path
            for pattern in patterns
            for path in sorted(self.path.glob(pattern))
            if path.is_file() or path.is_symlink()
        ]

    def _check_kinds(self) -> None:
        """A folder where a file belongs, or the other way round, would end the run when it writes there."""
        plain = [name for name in (*_PRECIOUS, *_REST, *LOGS) if "*" not in name]
        for name in _EVALUATION if self.evaluation else plain:
            path = self.path / name
            if path.is_dir():
                raise UserError(f"{path} is a folder, and the run writes a file of that name: move it away.")
            if name in ("log.txt", "eval_log.txt") and path.exists() and not os.access(path, os.W_OK):
                raise UserError(f"{path} cannot be written: change its permissions, or choose another OUTPUT_DIR.")
        board = self.path / "tensorboard"
        if not self.evaluation and board.exists() and not board.is_dir():
            raise UserError(f"{board} is a file, and the run writes a folder of that name: move it away.")


def check_writable(path: Path, key: str) -> None:
    """Whether a folder exists and can be written, or can be made; nothing is written.

    Raises:
        UserError: it cannot; the message names ``key`` and the folder that is in the way.
    """
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(path)  # a name that is too long, a folder that must not be looked into, a character no name has
        there = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    except (OSError, ValueError) as error:
        raise UserError(f"{key} {str(path)!r} cannot be made: {getattr(error, 'strerror', None) or error}.") from None
    if there.is_symlink() and not there.exists():
        raise UserError(f"{key} {path} cannot be made: {there} is a link to nothing.")
    if not there.is_dir():
        raise UserError(f"{key} {path} cannot be made: {there} is no folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{key} {path} cannot be written: {there} is read-only for this user; choose another folder.")


def _is_finished(results: Path) -> bool:
    try:
        return bool(json.loads(results.read_text(encoding="utf-8")).get("finished"))
    except (OSError, ValueError, AttributeError):
        return False


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
