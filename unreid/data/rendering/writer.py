"""Writes a planned world to disk: several processes, all or nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from unreid.data.rendering.knobs import RENDERER_VERSION, WorldKnobs
from unreid.data.rendering.plan import Plan, Roll
from unreid.data.rendering.scene import Scene
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

WORLD_FILE = "world.json"
_QUALITY = 90  # of the written files; the cameras' own encoder is a knob
_IMAGES_PER_PROCESS = 500  # below that, starting a process costs more than it saves
_SHARES = 8  # portions a process gets one after the other


def render(knobs: WorldKnobs, plan: Plan, folder: Path, *, layout: str, workers: int | None = None) -> Path:
    """Renders ``plan`` into ``folder`` unless it is already there.

    The pictures are rendered into a hidden neighbour that is renamed at the end, so ``folder`` is complete or absent,
    also after a crash. Processes that want the same folder at the same time wait for each other where the system has
    file locks; elsewhere they may work twice, and the first to finish wins.

    Args:
        knobs: the world.
        plan: its files.
        folder: where they go.
        layout: name of the layout, recorded in ``world.json``.
        workers: rendering processes; None: one a core, fewer for few images.

    Returns:
        ``folder``.

    Raises:
        UserError: the folder exists but was not rendered from these knobs, or it cannot be written.
    """
    record = {"layout": layout, "renderer_version": RENDERER_VERSION, "knobs": knobs.to_dict(), **plan.meta}
    if _is_rendered(folder, record):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not _is_rendered(folder, record):
                _render_beside(knobs, plan, folder, record, workers)
    except OSError as error:
        raise UserError(f"The rendered dataset cannot be written to {folder}: {error.strerror or error}.") from error
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
    wanted = workers if workers is not None else min(_cores(), plan.images // _IMAGES_PER_PROCESS)
    if wanted <= 1:
        _develop(knobs, plan.rolls, folder)
        return
    shares = wanted * _SHARES
    size = -(-len(plan.rolls) // shares)  # neighbours stay together: they share the identity
    portions = [plan.rolls[start : start + size] for start in range(0, len(plan.rolls), size)]
    with ProcessPoolExecutor(wanted, mp_context=_process_context(), initializer=_one_thread) as pool:
        for job in [pool.submit(_develop, knobs, portion, folder) for portion in portions]:
            job.result()


def _develop(knobs: WorldKnobs, rolls: Sequence[Roll], folder: Path) -> None:
    """Renders and writes some passages; runs in a worker process."""
    import cv2

    scene = _scene(knobs)
    for roll in rolls:
        for image, targets in zip(scene.images(roll.passage), roll.targets):
            encoded: dict[str, bytes] = {}
            for target in targets:
                suffix = os.path.splitext(target)[1]
                if suffix not in encoded:
                    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if suffix == ".jpg" else []
                    encoded[suffix] = cv2.imencode(suffix, image, options)[1].tobytes()
                with open(folder / target, "wb") as file:
                    file.write(encoded[suffix])


@lru_cache(maxsize=1)
def _scene(knobs: WorldKnobs) -> Scene:
    """Cameras take a tenth of a second to make: a worker keeps them from portion to portion."""
    return Scene(knobs)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)  # the processes already use every core


def _process_context() -> multiprocessing.context.BaseContext:
    """Forked workers start at once and need no importable main module; elsewhere the system's default."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds a lock beside ``folder`` where the system has file locks (advisory; released when a process dies)."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    with open(folder.parent / f".{folder.name}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems have none
            logger.debug("no lock for %s: %s", folder, error)
        yield
