"""The folder layouts of the public tracklet datasets, filled with rendered passages."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np

from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.plan import Plan, Roll, pid_of
from unreid.rendering.seeding import Half
from unreid.rendering.timeline import FRAME_RATE, IMAGE_STRIDE, make_clock, timed_passages
from unreid.utils.errors import UserError


def dukevideo(knobs: WorldKnobs) -> Plan:
    """DukeMTMC-VideoReID: ``<split>/<pid>/<track>/<pid>_C<cam>_F<image>_X<frame>.jpg``.

    As in the original, the query is one tracklet of each test identity, and the gallery holds all test tracklets, the
    queries' own copies included. Distractors are further identities seen by one camera.
    """
    _needs_two_cameras(knobs)
    clock = make_clock(knobs)
    rolls = []
    for half in (Half.TRAIN, Half.TEST, Half.DISTRACTOR):
        tracks: dict[int, int] = {}
        for passage in timed_passages(knobs, clock, half):
            pid = 3 * passage.number + 1 + int(half)  # three interleaved series: see plan.pid_of
            track = tracks[pid] = tracks.get(pid, 0) + 1
            folders = ["train" if half is Half.TRAIN else "gallery"]
            if half is Half.TEST and track == 1:
                folders.append("query")
            targets = tuple(
                tuple(
                    f"{folder}/{pid:04d}/{track:04d}/{pid:04d}_C{passage.camera + 1}_F{image:04d}_X{frame}.jpg"
                    for folder in folders
                )
                for image, frame in enumerate(passage.frames or (), start=1)
            )
            rolls.append(Roll(passage, targets))
    meta = {
        "camera_starts": list(clock.camera_starts),
        "camera_sites": [list(site) for site in clock.sites],
        "frame_rate": FRAME_RATE,
        "image_stride": IMAGE_STRIDE,
    }
    return Plan(rolls, meta=meta)


def mars(knobs: WorldKnobs) -> Plan:
    """MARS: images below ``bbox_train`` and ``bbox_test``, tracklets in name lists and MATLAB tables.

    A test identity's first passage through a camera is a query if it comes back there (``knobs.passes`` > 1);
    otherwise only the first passage of its route is one. Distractors are 0000, junk is 00-1.
    """
    _needs_two_cameras(knobs)
    clock = make_clock(knobs)
    populations = {"train": (Half.TRAIN,), "test": (Half.TEST, Half.DISTRACTOR, Half.JUNK)}
    rolls: list[Roll] = []
    extra: dict[str, bytes] = {}
    for split, halves in populations.items():
        names: list[str] = []
        rows: list[tuple[int, int, int, int]] = []
        queries: list[int] = []
        seen: set[int] = set()
        for passage in (passage for half in halves for passage in timed_passages(knobs, clock, half)):
            pid, track = pid_of(passage), len(rows) + 1
            shown = "00-1" if pid < 0 else f"{pid:04d}"
            images = [
                f"{shown}C{passage.camera + 1}T{track:04d}F{image:03d}.jpg" for image in range(1, passage.images + 1)
            ]
            rolls.append(Roll(passage, tuple((f"bbox_{split}/{shown}/{image}",) for image in images)))
            rows.append((len(names) + 1, len(names) + len(images), pid, passage.camera + 1))
            names += images
            first = passage.repeat == 0 and (knobs.passes > 1 or pid not in seen)
            if passage.half is Half.TEST and first:
                queries.append(track)
            seen.add(pid)
        extra[f"info/{split}_name.txt"] = "".join(f"{name}\n" for name in names).encode()
        extra[f"info/tracks_{split}_info.mat"] = _matlab(f"track_{split}_info", rows)
    extra["info/query_IDX.mat"] = _matlab("query_IDX", [queries])
    return Plan(rolls, extra)


def _needs_two_cameras(knobs: WorldKnobs) -> None:
    if min(knobs.cameras, knobs.cameras_per_id[0]) < 2:
        raise UserError("A rendered video set needs at least 2 cameras per identity (query and gallery).")


def _matlab(variable: str, rows: Iterable[Iterable[int]]) -> bytes:
    """A MATLAB 5 file with one integer table; the time in its header is replaced, so that equal worlds stay equal."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {variable: np.array([list(row) for row in rows], dtype=np.int32)})
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]
