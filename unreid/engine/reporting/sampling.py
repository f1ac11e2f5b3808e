"""Which samples a report looks at where there are more than it can wait for."""

from __future__ import annotations

import numpy as np

from unreid.data.datasets.base import Split
from unreid.data.datasets.scorable import with_match
from unreid.utils.arrays import spread

CLUSTER = 60  # members of a cluster that are looked at


def choose_train(labels: np.ndarray | None, count: int, most: int) -> np.ndarray:
    """int64, ascending: whole clusters of every size as far as they fit, and outliers in proportion.

    Args:
        labels: int64 (N,), -1 outlier; None: evenly spread samples.
        count: N.
        most: samples wanted at most; 0: all.
    """
    if not most or count <= most:
        return np.arange(count)
    if labels is None:
        return spread(np.arange(count), most)
    outliers = np.flatnonzero(labels < 0)
    chosen = [spread(outliers, round(most * len(outliers) / count))]
    room = most - len(chosen[0])
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    by_size = names[np.argsort(-sizes, kind="stable")]
    # The largest first, because it is shown; then every k-th, so that all sizes are there.
    step = max(1, round((count - len(outliers)) / max(room, 1)))
    order = [name for start in range(step) for name in by_size[start::step]]
    for name in order:
        members = spread(np.flatnonzero(labels == name), CLUSTER)
        if len(members) > room:
            continue
        chosen.append(members)
        room -= len(members)
    if len(chosen) == 1:  # no cluster fits
        chosen.append(spread(np.flatnonzero(labels >= 0), room))
    return np.sort(np.concatenate(chosen))


def choose_queries(query: Split, gallery: Split, most: int, filtered: bool) -> np.ndarray:
    """int64, ascending: evenly spread queries, among those that have a match if not all are wanted."""
    count = len(query)
    if not most or count <= most:
        return np.arange(count)
    found = np.flatnonzero(with_match(query, gallery, filtered))
    return spread(found if len(found) else np.arange(count), most // 4 or 1)


def choose_gallery(gallery: Split, pids: np.ndarray, most: int) -> np.ndarray:
    """int64, ascending: everything of the identities ``pids``, and evenly spread others up to ``most``."""
    count = len(gallery)
    if not most or count <= most:
        return np.arange(count)
    needed = np.isin(gallery.truth.pids, pids)
    matches, others = np.flatnonzero(needed), np.flatnonzero(~needed)
    return np.sort(np.concatenate([matches, spread(others, max(most - len(matches), most // 4))]))
