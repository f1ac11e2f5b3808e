"""SpCL's self-paced labels: clusters that are not independent or not compact release their members (NeurIPS 2020)."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, Turn
from unreid.clustering.overlap import label_mate_iou, with_own_labels
from unreid.clustering.three_radii import ThreeRadii
from unreid.structures import Clustering, PairGraph
from unreid.utils.state import entries

logger = logging.getLogger(__name__)


class SelfPacedLabels(NamedTuple):
    """Labels with gaps, as published.

    Attributes:
        labels: int64 (N,); released samples have ids of their own after all others. An id may have lost all members.
        released: bool (N,).
        threshold: of independence; None while no cluster had more than one member.
        r_comp, r_indep: float64 (N,), 1 - IoU of the label-mates with those at the tight and at the loose radius.
        id_comp, id_indep: float64 (C + outliers,), the minima of both over the members of an id.
    """

    labels: Tensor
    released: Tensor
    threshold: float | None
    r_comp: Tensor
    r_indep: Tensor
    id_comp: Tensor
    id_indep: Tensor


def independence_threshold(r_indep: Tensor, size: Tensor, quantile: float = 0.9) -> float | None:
    """The entry ``min(u - 1, round(quantile * u))`` of the sorted per-id values of the u ids with several members.

    Args:
        r_indep: float (C,), per-id minimum of ``1 - IoU(normal, loose)``.
        size: int64 (C,), members of an id.
    """
    several = r_indep[size > 1].sort().values
    if not len(several):
        return None
    return float(several[min(len(several) - 1, round(quantile * len(several)))])


def self_paced_labels(
    labels: Tensor, tight: Tensor, loose: Tensor, threshold: float | None = None, quantile: float = 0.9
) -> SelfPacedLabels:
    """Applies the reliability criterion to a labeling.

    Args:
        labels, tight, loose: int64 (N,) at eps, eps - gap, eps + gap; -1 for outliers.
        threshold: that of the first epoch; None computes it.
        quantile: of the ids kept by independence when the threshold is computed.
    """
    own = with_own_labels(labels)
    r_comp = 1.0 - label_mate_iou(own, with_own_labels(tight))
    r_indep = 1.0 - label_mate_iou(own, with_own_labels(loose))
    count = int(own.max()) + 1 if len(own) else 0
    best = torch.full((count,), torch.inf, dtype=r_comp.dtype, device=own.device)
    id_comp = best.scatter_reduce(0, own, r_comp, "amin")
    id_indep = best.scatter_reduce(0, own, r_indep, "amin")
    if threshold is None:
        threshold = independence_threshold(id_indep, torch.bincount(own), quantile)
    if threshold is None:
        logger.warning("no cluster has more than one member: all labels are kept")
        released = torch.zeros_like(own, dtype=torch.bool)
    else:
        released = (id_indep[own] > threshold) | (r_comp > id_comp[own])
    paced = torch.where(released, count + released.cumsum(0) - 1, own)
    return SelfPacedLabels(paced, released, threshold, r_comp, r_indep, id_comp, id_indep)


@CLUSTERERS.register("SelfPacedDBSCAN")
class SelfPacedDBSCAN(ThreeRadii):
    """DBSCAN whose unreliable members and outliers become classes of their own: all samples train.

    The threshold is fixed in the first round and belongs to the state. ``extras``: ``released`` bool (N,) and
    ``clusters``, the number of classes with several samples.

    Args:
        quantile: of the ids kept by independence in the first round.
        radii: see :class:`~unreid.clustering.three_radii.ThreeRadii`.
    """

    def __init__(self, *radii: Any, quantile: float = 0.9, **density: Any) -> None:
        super().__init__(*radii, **density)
        self.quantile = quantile
        self.threshold: float | None = None

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        (normal, _), tight, loose = self.three_labelings(graph)
        found = self_paced_labels(normal, tight, loose, self.threshold, self.quantile)
        self.threshold = found.threshold
        several = int((torch.bincount(found.labels) > 1).sum())
        extras = {"released": found.released.cpu(), "clusters": several}
        return Clustering.from_labels(found.labels, eps=self.eps, extras=extras)

    def state_dict(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        kinds = {"threshold": (float, type(None))}
        self.threshold = entries(state, "the state of SelfPacedDBSCAN", kinds)["threshold"]
