"""No test image is ever trained on: records whose files are kept for the test leave the training list."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from unreid.data.datasets.same_files import FileIndex
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


def trainable(tracklets: Sequence[Tracklet], held_out: FileIndex, *, owner: str, tester: str) -> list[int]:
    """Positions of the records that share no file with the test; the log says how many do.

    A pass of which one frame is a test image is left out whole, with all clips that were cut from it: its other frames
    are nearly the same pictures.

    Args:
        held_out: files of query and gallery.
        owner, tester: the training set and the test set, for the message.

    Raises:
        UserError: there are records, and all of them are test images.
    """
    if not len(held_out):
        return list(range(len(tracklets)))
    shared = {t.trackid: t for t in reversed(tracklets) if any(held_out.holds(path) for path in t.paths)}
    kept = [position for position, tracklet in enumerate(tracklets) if tracklet.trackid not in shared]
    if not shared:
        return kept
    left_out = len(tracklets) - len(kept)
    first = next(t for t in tracklets if t.trackid in shared).paths[0]
    if not kept:
        raise UserError(
            f"{owner}: all {left_out} training samples are query or gallery images of {tester} (first: {first}), so "
            "nothing is left to train on; give training a folder of its own."
        )
    logger.warning(
        "%s: %d of %d training samples were left out, they are query or gallery images of %s (first: %s)",
        owner,
        left_out,
        len(tracklets),
        tester,
        first,
    )
    return kept
