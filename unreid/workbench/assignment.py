"""New crops to known identities, or to nobody: a threshold that the clustering itself calibrates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.evaluation.distance import row_slices
from unreid.utils.errors import UserError
from unreid.workbench.confidence import fit, identity_means
from unreid.workbench.feature_table import FeatureTable
from unreid.workbench.identity_table import NO_IDENTITY, IdentityTable


def calibrate(vectors: Tensor, labels: Tensor) -> dict[str, float]:
    """The similarity below which a crop belongs to nobody, with the shares of wrong answers to expect.

    Every image that has an identity is taken once for a new crop of it, compared with the mean of the identity's other
    images, and once for a crop of somebody unknown, compared with the means of all other identities, of which the
    nearest counts. The threshold lies where the two kinds of mistake are equally frequent.

    Args:
        vectors: float32 (N, D).
        labels: int64 (N,), -1 for none, identities 0..C-1.

    Returns:
        ``cosine``, the threshold; ``false_unknown``, the share of crops of known ones below it; ``false_known``, that
        of unknown ones above. Without two identities of two images: cosine 0 and shares of 0.
    """
    found = fit(vectors, labels)
    usable = (labels >= 0) & ~found.alone
    known, unknown = found.own[usable].sort().values, found.next[usable].sort().values
    if len(known) == 0 or int(labels.max()) < 1:
        return {"cosine": 0.0, "false_unknown": 0.0, "false_known": 0.0}
    values = torch.cat([known, unknown]).unique()
    below = torch.searchsorted(known, values) / len(known)
    above = 1 - torch.searchsorted(unknown, values) / len(unknown)
    place = int((below - above).abs().argmin())
    return {
        "cosine": float(values[place]),
        "false_unknown": float(below[place]),
        "false_known": float(above[place]),
    }


def assign(vectors: Tensor, known: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest identity of every new crop.

    Args:
        vectors: float32 (Q, D), new.
        known: float32 (N, D), those that have identities.
        labels: int64 (N,), -1 for none, identities 0..C-1.

    Returns:
        identity int64 (Q,), cosine to its mean float32 (Q,), and to the mean of the next identity (0 where there is
        none).
    """
    means = normalize(identity_means(known, labels)[0])
    best, second = vectors.new_zeros(len(vectors)), vectors.new_zeros(len(vectors))
    nearest = torch.zeros(len(vectors), dtype=torch.int64)
    for rows in row_slices(len(vectors), len(means)):
        top = (normalize(vectors[rows]) @ means.T).topk(min(2, len(means)), dim=1)
        nearest[rows], best[rows] = top.indices[:, 0], top.values[:, 0]
        if top.values.shape[1] > 1:
            second[rows] = top.values[:, 1]
    return nearest, best, second


def assign_table(
    new: FeatureTable, known: FeatureTable, identities: IdentityTable, *, threshold: float | None = None
) -> IdentityTable:
    """Identities of new crops, :data:`~unreid.workbench.identity_table.NO_IDENTITY` for those of nobody known.

    The confidence is that of a clustering: how much nearer the crop is to its identity than to the next one.

    Args:
        new: Q vectors.
        known: vectors of the images that ``identities`` lists, by the same model.
        identities: who is in them; images that ``known`` lacks are passed over.
        threshold: cosine below which a crop belongs to nobody; None: calibrated from ``known``.

    Raises:
        UserError: no listed image is in ``known``, or none has an identity.
    """
    place = {path: row for row, path in enumerate(known.paths)}
    listed = [(place[path], pid) for path, pid in zip(identities.paths, identities.pids) if path in place]
    names = list(dict.fromkeys(pid for _, pid in listed if pid != NO_IDENTITY))
    if not names:
        raise UserError(
            f"None of the {len(identities)} listed images with an identity is among the {len(known)} of the feature "
            "table: give the table that they were clustered from."
        )
    number = {name: label for label, name in enumerate(names)}
    rows, own = torch.tensor([(row, number.get(pid, -1)) for row, pid in listed]).T
    vectors = torch.from_numpy(known.vectors)[rows]
    calibrated = calibrate(vectors, own)
    limit = calibrated["cosine"] if threshold is None else threshold
    nearest, best, second = assign(torch.from_numpy(new.vectors), vectors, own)
    near, far = ((2 - 2 * cosine).clamp(min=0).sqrt() for cosine in (best, second))
    sure = ((far - near) / far.clamp(min=1e-12)).clamp(min=0)
    unknown = best < limit
    pids = [NO_IDENTITY if nobody else names[label] for nobody, label in zip(unknown.tolist(), nearest.tolist())]
    meta = {
        "root": new.meta.root,
        "fingerprint": new.meta.fingerprint,
        "assigned": {"identities": len(names), "unknown": int(unknown.sum())},
        "threshold": {**calibrated, "used": limit},
    }
    confidences = np.where(unknown.numpy(), 0.0, sure.numpy()).astype(np.float32)
    return IdentityTable(list(new.paths), list(new.cameras), pids, confidences, meta)
