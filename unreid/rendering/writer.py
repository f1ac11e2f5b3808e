"""Writes a planned world to disk: several processes, all or nothing."""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unreid.rendering.knobs import RENDERER_VERSION, WorldKnobs
from unreid.rendering.plan import Plan
from unreid.rendering.worker import develop, develop_in_processes
from unreid.utils.errors import UserError
from unreid.utils.processors import usable_processors
from unreid.utils.progress import task
from unreid.utils.writing import writing

logger = logging.getLogger(__name__)

WORLD_FILE = "world.json"
_ABANDONED = 24 * 3600  # seconds
_IMAGES_PER_PROCESS = 800  # below that, starting a process costs more than it saves


def render(knobs: WorldKnobs, plan: Plan, folder: Path, *, layout: str, workers: int | None = None) -> Path:
    """Renders ``plan`` into ``folder`` unless it is already there.

    The pictures are rendered into a hidden neighbour that is renamed at the end, so ``folder`` is complete or absent,
    also after a crash. Processes that want the same folder at the same time wait for each other where the system has
    file locks; elsewhere they may work twice, and the first to finish wins.

    Args:
        layout: name of the layout, recorded in ``world.json``.
        workers: rendering processes; None: one a core, fewer for few images.

    Returns:
        ``folder``.

    Raises:
        UserError: the folder exists but was not rendered from these knobs, or it cannot be written.
    """
    record = {"layout": layout, "renderer_version": RENDERER_VERSION, "knobs": knobs.to_dict(), **plan.meta}
    with writing(folder):
        if _is_rendered(folder, record):
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder) as alone:
            _sweep(folder, alone)
            if not _is_rendered(folder, record):
                _render_beside(knobs, plan, folder, record, workers)
    return folder


def read_world(folder: Path) -> dict[str, Any]:
    """What ``world.json`` of a rendered folder says; raises :class:`UserError` when it is missing or unreadable."""
    try:
        return json.loads((folder / WORLD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is not a rendered dataset: {WORLD_FILE} cannot be read ({error}).") from error


def _is_rendered(folder: Path, record: dict[str, Any]) -> bool:
    if not folder.exists():
        return False
    if not (folder / WORLD_FILE).exists() and not any(folder.iterdir()):
        return False  # an empty folder may be filled
    found = read_world(folder)
    if found != json.loads(json.dumps(record)):
        different = sorted(key for key in record if found.get(key) != record[key])
        raise UserError(f"{folder} holds another rendered world (different: {', '.join(different)}); remove it first.")
    return True


def _render_beside(knobs: WorldKnobs, plan: Plan, folder: Path, record: dict[str, Any], workers: int | None) -> None:
    started = time.perf_counter()
    logger.info("Rendering %d images into %s ...", plan.images, folder)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        for parent in sorted({path.rpartition("/")[0] for path in (*plan.paths(), *plan.extra)}):
            (unfinished / parent).mkdir(parents=True, exist_ok=True)
        with task("rendering", plan.images, "images", measure=lambda: _files(unfinished)):
            _render_rolls(knobs, plan, unfinished, workers)
        for name, content in plan.extra.items():
            (unfinished / name).write_bytes(content)
        (unfinished / WORLD_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
        unfinished.chmod(0o755)  # mkdtemp makes it private
        _take_place(unfinished, folder, record)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    logger.info("Rendered %d images in %.1f s.", plan.images, time.perf_counter() - started)


def _take_place(unfinished: Path, folder: Path, record: dict[str, Any]) -> None:
    """The atomic step. Losing the race against a process that rendered the same world is no error."""
    try:
        os.rename(unfinished, folder)
    except OSError:
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()  # Windows does not rename onto an empty folder
            os.rename(unfinished, folder)
        elif not _is_rendered(folder, record):
            raise


def _render_rolls(knobs: WorldKnobs, plan: Plan, folder: Path, workers: int | None) -> None:
    wanted = workers if workers is not None else min(usable_processors(), plan.images // _IMAGES_PER_PROCESS)
    if wanted > 1 and sys.executable:
        develop_in_processes(knobs, plan.rolls, folder, wanted)
    else:
        develop(knobs, plan.rolls, folder)


def _files(folder: Path) -> int:
    """Files below a folder, which several processes fill."""
    return sum(len(files) for _, _, files in os.walk(folder))


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Holds a lock beside ``folder`` (advisory; released when a process dies); False where the system has none."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield False
        return
    alone = True
    with open(folder.parent / f".{folder.name}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems have none
            logger.debug("no lock for %s: %s", folder, error)
            alone = False
        yield alone


def _sweep(folder: Path, alone: bool) -> None:
    """Removes what killed processes left of this folder; where there are no locks to tell, after a day."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):
        if alone or time.time() - left.stat().st_mtime > _ABANDONED:
            logger.info("removing %s, which a killed process left unfinished", left)
            shutil.rmtree(left, ignore_errors=True)
