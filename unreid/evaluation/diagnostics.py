"""Compares pseudo labels with true identities. For the log only: nothing here may reach the training.

Counts of clusters and NMI mislead (NMI is 75 when every sample is alone); pair precision and cross-camera recall say
what the training will see: how many positives are wrong, and how many of the hard ones are found.
"""

from __future__ import annotations

import numpy as np

from unreid.utils.arrays import ArrayLike, as_ids, as_integers


def cluster_report(labels: ArrayLike, pids: ArrayLike, camids: ArrayLike | None = None) -> dict[str, float]:
    """Agreement of pseudo labels with identities, in O(N).

    Args:
        labels: integers (N,), cluster per sample, -1 for outliers.
        pids: true identities (N,), integers or strings; samples with a negative one are left out of the comparison.
        camids: cameras (N,), integers or strings; without them there is no cross-camera recall.

    Returns:
        - ``clusters``, ``outliers``, ``largest``: counts over all samples;
        - ``purity``: share of clustered samples that have their cluster's most frequent identity;
        - ``nmi``, ``ari``: normalised mutual information (arithmetic mean) and adjusted Rand index of the clustered
          samples;
        - ``pair_precision``: share of the pairs inside clusters that have one identity;
        - ``pair_recall``: share of the pairs of one identity that are inside a cluster, outliers counted as missed;
        - ``cross_camera_recall``: the same over pairs from two cameras.

        All shares are in [0, 1] (``ari`` can be slightly negative) and 0 where there is nothing to count.

    Raises:
        InputError: the lengths differ, or ids are neither integers nor strings.
    """
    labels = as_integers(labels, "labels").cpu().numpy()
    pids = as_ids(pids, "pids", len(labels)).cpu().numpy()
    clustered = labels >= 0
    sizes = np.unique(labels[clustered], return_counts=True)[1]
    report = {
        "clusters": float(len(sizes)),
        "outliers": float((~clustered).sum()),
        "largest": float(sizes.max(initial=0)),
    }
    known = pids >= 0
    inside = clustered & known
    report |= _agreement(labels[inside], pids[inside])
    together = _pairs(labels[inside], pids[inside])
    report["pair_precision"] = _share(together, _pairs(labels[inside]))
    report["pair_recall"] = _share(together, _pairs(pids[known]))
    if camids is not None:
        camids = as_ids(camids, "camids", len(labels)).cpu().numpy()
        found = together - _pairs(labels[inside], pids[inside], camids[inside])
        report["cross_camera_recall"] = _share(found, _pairs(pids[known]) - _pairs(pids[known], camids[known]))
    return report


def _agreement(labels: np.ndarray, pids: np.ndarray) -> dict[str, float]:
    """Purity, NMI and ARI from the counts of the occupied cells of the contingency table."""
    n = len(labels)
    if n == 0:
        return {"purity": 0.0, "nmi": 0.0, "ari": 0.0}
    rows, cells = _count(labels, pids)
    best = np.zeros(int(rows[:, 0].max()) + 1, dtype=np.int64)
    np.maximum.at(best, rows[:, 0], cells)
    in_cluster, in_identity = _count(labels)[1], _count(pids)[1]
    entropies = _entropy(in_cluster, n) + _entropy(in_identity, n)
    mutual = entropies - _entropy(cells, n)
    both, a, b, total = (_choose_two(part) for part in (cells, in_cluster, in_identity, np.array([n])))
    # Two trivial partitions (one block, or all alone) on both sides agree perfectly.
    expected = a * b / total if total else 0.0
    spread = (a + b) / 2 - expected
    return {
        "purity": float(best.sum() / n),
        "nmi": float(np.clip(2 * mutual / entropies, 0.0, 1.0)) if entropies > 0 else 1.0,
        "ari": float((both - expected) / spread) if spread > 0 else 1.0,
    }


def _count(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows (U, columns), each column numbered from 0, and how often they occur."""
    if not len(columns[0]):
        return np.empty((0, len(columns)), dtype=np.int64), np.empty(0, dtype=np.int64)
    key = np.zeros(len(columns[0]), dtype=np.int64)
    widths = []
    for column in columns:
        values, index = np.unique(column, return_inverse=True)
        key = key * len(values) + index
        widths.append(len(values))
    keys, counts = np.unique(key, return_counts=True)
    return np.stack(np.unravel_index(keys, widths), axis=1), counts


def _pairs(*columns: np.ndarray) -> float:
    """Unordered pairs of samples that agree in all columns."""
    return _choose_two(_count(*columns)[1])


def _choose_two(counts: np.ndarray) -> float:
    return float((counts * (counts - 1) // 2).sum())


def _entropy(counts: np.ndarray, total: int) -> float:
    share = counts / total
    return float(-(share * np.log(share)).sum())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
