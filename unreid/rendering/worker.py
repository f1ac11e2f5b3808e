"""Rendering in several processes: fresh interpreters that know only NumPy and OpenCV.

Fresh ones, because a forked process may hang in OpenCV's thread pool, and spawned ones import the caller's main
script, which a plain script without a guard does not survive.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.plan import Roll
from unreid.rendering.scene import Passage, Scene
from unreid.rendering.seeding import Half

_QUALITY = 90  # of the written files; the cameras' own encoder is a knob
_CANNOT_WRITE = 3  # exit status of a worker that the system refused a file
_PACKAGE_ROOT = Path(__file__).parents[3]


def develop(knobs: WorldKnobs, rolls: Sequence[Roll], folder: Path) -> None:
    """Renders passages and writes their pictures below ``folder``, whose sub-folders must exist."""
    import cv2

    scene = Scene(knobs)
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


def develop_in_processes(knobs: WorldKnobs, rolls: Sequence[Roll], folder: Path, workers: int) -> None:
    """The same with ``workers`` processes, each on consecutive passages (an identity's are neighbours).

    Raises:
        OSError: a process could not write; the original error.
        RuntimeError: a process failed otherwise; the message holds its last words.
    """
    size = -(-len(rolls) // workers)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    jobs: list[tuple[Path, subprocess.Popen[str]]] = []
    try:
        for start in range(0, len(rolls), size):
            job = folder / f".job-{start}.json"
            job.write_text(_to_json(knobs, rolls[start : start + size]), encoding="utf-8")
            command = [sys.executable, "-m", __name__, str(job)]
            # A worker ends when its standard input does: with this process, however that ends.
            pipe = subprocess.PIPE
            jobs.append((job, subprocess.Popen(command, env=environment, stdin=pipe, stderr=pipe, text=True)))
        for job, process in jobs:
            assert process.stderr is not None
            words = process.stderr.read()  # not ``communicate``, which closes the worker's standard input
            process.wait()
            if process.returncode == _CANNOT_WRITE:
                number, _, name = words.strip().splitlines()[-1].partition(" ")
                raise OSError(int(number), os.strerror(int(number)), name)
            if process.returncode:
                raise RuntimeError(f"a rendering process ended with {process.returncode}: {words.strip()[-500:]}")
            job.unlink()
    finally:
        for _, process in jobs:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stderr):
                if stream is not None:
                    stream.close()


def _to_json(knobs: WorldKnobs, rolls: Sequence[Roll]) -> str:
    rows = [[*roll.passage.key, roll.passage.images, roll.passage.frames, roll.targets] for roll in rolls]
    return json.dumps({"knobs": knobs.to_dict(), "rolls": rows})


def _from_json(text: str) -> tuple[WorldKnobs, list[Roll]]:
    job: dict[str, Any] = json.loads(text)
    rolls = [
        Roll(
            Passage(Half(half), number, camera, repeat, images, None if frames is None else tuple(frames)),
            tuple(tuple(target) for target in targets),
        )
        for half, number, camera, repeat, images, frames, targets in job["rolls"]
    ]
    return WorldKnobs.from_dict(job["knobs"]), rolls


def main(job: Path) -> None:
    """Does one job file, writing into the folder that holds it."""
    import cv2

    cv2.setNumThreads(1)  # there is a process for every core
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        knobs, rolls = _from_json(job.read_text(encoding="utf-8"))
        develop(knobs, rolls, job.parent)
    except OSError as error:
        sys.stderr.write(f"{error.errno or 0} {error.filename or ''}\n")
        sys.exit(_CANNOT_WRITE)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
