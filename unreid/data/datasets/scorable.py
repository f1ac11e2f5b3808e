"""Whether a dataset's queries can be scored at all: asked of the records, before anything is trained."""

from __future__ import annotations

import logging

import numpy as np

from unreid.data.datasets.base import ReIDDataset, Split
from unreid.data.datasets.same_files import FileIndex
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


def check_scorable(dataset: ReIDDataset) -> None:
    """Reads query and gallery and asks whether any query has a right answer there; no image is opened.

    Queries without one are left out of the scores; the log says how many they are.

    Raises:
        UserError: query and gallery share no identity; or every match is of the query's own camera, which the protocol
            leaves out; or the protocol has no cameras and a query's own file is in the gallery, so that it finds
            itself.
    """
    if not dataset.has_test:
        return
    query, gallery = dataset.query, dataset.gallery
    known = np.isin(query.truth.pids, gallery.truth.pids) & (query.truth.pids >= 0)
    if not known.any():
        raise UserError(
            f"{dataset.name}: query ({_identities(query)}) and gallery ({_identities(gallery)}) of {dataset.folder} "
            "share no identity, so nothing can be scored; give both the same identity names, or train without a test "
            "set."
        )
    if not dataset.cross_camera_filter and not dataset.single_gallery_shot:
        _refuse_selves(dataset)
        matched = known
    else:
        matched = known & with_match(query, gallery, True)
    if not matched.any():
        cameras = len({*query.camids, *gallery.camids})
        raise UserError(
            f"{dataset.name}: no query of {dataset.folder} has a match in another camera ({cameras} in all), and "
            "matches of the query's own camera do not count; check the cameras of query and gallery."
        )
    if not matched.all():
        first = query.tracklets[int(np.flatnonzero(~matched)[0])].paths[0]
        logger.warning(
            "%s: %d of %d queries have no match that counts and are left out of the scores (first: %s)",
            dataset.name,
            int((~matched).sum()),
            len(query),
            first,
        )


def with_match(query: Split, gallery: Split, elsewhere: bool) -> np.ndarray:
    """bool (Q,): the gallery has the query's identity, ``elsewhere``: in a camera other than the query's."""
    if not elsewhere:
        return np.isin(query.truth.pids, gallery.truth.pids)
    cameras: dict[int, set[int]] = {}
    for pid, camid in zip(gallery.truth.pids.tolist(), gallery.camids.tolist()):
        cameras.setdefault(pid, set()).add(camid)
    pairs = zip(query.truth.pids.tolist(), query.camids.tolist())
    return np.array([bool(cameras.get(pid, set()) - {camid}) for pid, camid in pairs], dtype=bool)


def _refuse_selves(dataset: ReIDDataset) -> None:
    files = FileIndex(path for tracklet in dataset.gallery.tracklets for path in tracklet.paths)
    selves = [t.paths[0] for t in dataset.query.tracklets if any(files.holds(path) for path in t.paths)]
    if selves:
        raise UserError(
            f"{dataset.name}: {len(selves)} of {len(dataset.query)} queries are in the gallery themselves (first: "
            f"{selves[0]}) and without cameras they would find themselves; take them out of one of the two."
        )


def _identities(split: Split) -> str:
    return f"{len(np.unique(split.truth.pids)):,} identities"
