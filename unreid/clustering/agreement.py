"""CDSM's clustering at three radii: labels at eps, and how they agree with those at eps - gap and eps + gap."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, Turn
from unreid.clustering.overlap import label_mate_iou, with_own_labels
from unreid.clustering.three_radii import ThreeRadii
from unreid.structures import Clustering, PairGraph

RULES = ("or", "and", "off")


def cluster_thresholds(values: Tensor, labels: Tensor, num_clusters: int, ratio: float = 0.2) -> Tensor:
    """``ratio`` times the largest value among the members of each cluster, float32 (C,); outliers do not count.

    Args:
        values: float (N,), a reliability.
        labels: int64 (N,), -1 for outliers.
    """
    members = labels >= 0
    best = torch.zeros(num_clusters, dtype=values.dtype, device=values.device)
    best = best.scatter_reduce(0, labels[members], values[members], "amax", include_self=False)
    return ratio * best.float()


@CLUSTERERS.register("AgreementDBSCAN")
class AgreementDBSCAN(ThreeRadii):
    """DBSCAN with reliabilities, from one pair graph built at the largest radius.

    ``extras`` of the clustering: ``r_comp`` and ``r_indep`` float32 (N,), IoU of a sample's label-mates with those at
    the tight and at the loose radius (outliers are clusters of their own); ``thr_comp`` and ``thr_indep`` float32 (C,).
    ``reliable``: whether a sample may enter a margin slot of the memory under ``rule``.

    Args:
        rule: "or" (published; it rejects next to nothing, see ``docs``), "and" (the rule that filters), or "off".
        ratio: threshold of a cluster as a share of its best member.
        radii: see :class:`~unreid.clustering.three_radii.ThreeRadii`.
    """

    def __init__(self, *radii: Any, rule: str = "or", ratio: float = 0.2, **density: Any) -> None:
        if rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, not {rule!r}")
        super().__init__(*radii, **density)
        self.rule = rule
        self.ratio = ratio

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        clusterer = super().from_config(cfg)
        clusterer.rule = cfg.MEMORY.RELIABILITY
        return clusterer

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        (labels, core), tight, loose = self.three_labelings(graph)
        count = int(labels.max()) + 1 if len(labels) else 0
        extras = agreement(labels, tight, loose, count, rule=self.rule, ratio=self.ratio)
        return Clustering(
            labels.cpu(),
            count,
            core=None if core is None else core.cpu(),
            reliable=extras.pop("reliable"),
            eps=self.eps,
            extras=extras,
        )


def agreement(
    labels: Tensor, tight: Tensor, loose: Tensor, num_clusters: int, *, rule: str = "or", ratio: float = 0.2
) -> dict[str, Tensor]:
    """Reliabilities, thresholds and the gate of three labelings, as :class:`AgreementDBSCAN` documents them."""
    own = with_own_labels(labels)
    r_comp = label_mate_iou(own, with_own_labels(tight)).float()
    r_indep = label_mate_iou(own, with_own_labels(loose)).float()
    thr_comp = cluster_thresholds(r_comp, labels, num_clusters, ratio)
    thr_indep = cluster_thresholds(r_indep, labels, num_clusters, ratio)
    inside = labels >= 0
    reliable = torch.ones_like(inside)
    if rule != "off" and num_clusters:
        at = labels.clamp(min=0)
        compact, independent = r_comp >= thr_comp[at], r_indep >= thr_indep[at]
        reliable = (compact | independent if rule == "or" else compact & independent) | ~inside
    return {
        "r_comp": r_comp,
        "r_indep": r_indep,
        "thr_comp": thr_comp,
        "thr_indep": thr_indep,
        "reliable": reliable,
    }
