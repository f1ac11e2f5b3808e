"""CDSM's clustering at three radii: labels at eps, and how they agree with those at eps - gap and eps + gap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, needed_graph
from unreid.clustering.dbscan import DensityClusterer, check_gap
from unreid.clustering.overlap import label_mate_iou, with_own_labels
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
class AgreementDBSCAN(DensityClusterer):
    """DBSCAN with reliabilities, from one pair graph built at the largest radius.

    ``extras`` of the clustering: ``r_comp`` and ``r_indep`` float32 (N,), IoU of a sample's label-mates with those at
    the tight and at the loose radius (outliers are clusters of their own); ``thr_comp`` and ``thr_indep`` float32 (C,);
    ``reliable`` bool (N,): whether a sample may enter a margin slot of the memory under ``rule``.

    Args:
        eps, gap: the radius, and its distance to the tight and the loose one.
        rule: "or" (published; it rejects next to nothing, see ``docs``), "and" (the rule that filters), or "off".
        ratio: threshold of a cluster as a share of its best member.
        min_samples, tol, metric, k1, k2: see :class:`~unreid.clustering.dbscan.DensityClusterer`.
    """

    def __init__(
        self,
        eps: float = 0.6,
        gap: float = 0.02,
        min_samples: int = 4,
        *,
        tol: float = 1e-6,
        rule: str = "or",
        ratio: float = 0.2,
        metric: str = "jaccard",
        k1: int = 30,
        k2: int = 6,
    ) -> None:
        if rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, not {rule!r}")
        check_gap(eps, gap)
        super().__init__(eps, min_samples, tol=tol, metric=metric, k1=k1, k2=k2)
        self.gap = gap
        self.rule = rule
        self.ratio = ratio

    @classmethod
    def from_config(cls, cfg: Any) -> AgreementDBSCAN:
        node = cfg.CLUSTER
        clusterer = cls(node.EPS, node.EPS_GAP, node.MIN_SAMPLES, rule=cfg.MEMORY.RELIABILITY)
        clusterer.relaxed = node.ICDBSCAN_RELAXED
        return clusterer

    @property
    def radius(self) -> float:
        return self.reach(self.eps + self.gap)

    def cluster(
        self,
        features: Tensor,
        graph: PairGraph | None,
        *,
        round: int = 0,
        seed: int = 0,
        camids: Tensor | None = None,
    ) -> Clustering:
        graph = needed_graph(self, graph)
        labels, core = self.labels_at(graph, self.eps)
        tight, _ = self.labels_at(graph, self.eps - self.gap)
        loose, _ = self.labels_at(graph, self.eps + self.gap)
        count = int(labels.max()) + 1 if len(labels) else 0
        extras = agreement(labels, tight, loose, count, rule=self.rule, ratio=self.ratio)
        core = None if core is None else core.cpu()
        return Clustering(labels.cpu(), count, core=core, extras={"eps": self.eps, **extras})


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
