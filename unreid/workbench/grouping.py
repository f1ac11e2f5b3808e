"""From a feature table to an identities table: any clusterer, its eps swept where nobody knows it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering import Clusterer, FollowAnswers, build_clusterer, inner_clusterers
from unreid.clustering.dbscan import DensityClusterer
from unreid.config import CfgNode, load_config
from unreid.config.node import leaves
from unreid.constraints.review_file import load_answers
from unreid.data.datasets.names import camera_numbers
from unreid.evaluation.selection import simplified_silhouette
from unreid.neighbors import PairGraphBuilder, knn
from unreid.neighbors.builder import CAMERA_JACCARD
from unreid.structures import Clustering, PairGraph
from unreid.utils.errors import UserError
from unreid.utils.progress import task
from unreid.workbench.assignment import calibrate
from unreid.workbench.confidence import confidences
from unreid.workbench.feature_table import FeatureTable
from unreid.workbench.identity_table import NO_IDENTITY, IdentityTable

logger = logging.getLogger(__name__)

SWEEP = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
"""Radii of Jaccard distances that are tried."""
QUANTILES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Of the distances to the ``CLUSTER.MIN_SAMPLES``-th neighbour: radii of other distances that are tried."""


@dataclass(frozen=True)
class Try:
    """What one eps gave.

    Attributes:
        score: simplified silhouette, in [-1, 1]; outliers count 0.
    """

    eps: float
    clusters: int
    outliers: int
    score: float


def takes_eps(cfg: CfgNode) -> bool:
    """Whether the clusterer of a config has an eps to sweep."""
    return all(isinstance(inner, DensityClusterer) for inner in inner_clusterers(build_clusterer(cfg)))


def cluster_table(table: FeatureTable, cfg: CfgNode, *, sweep: Sequence[float] = (), source: str = "") -> IdentityTable:
    """Labels the images of a table.

    Args:
        cfg: its ``CLUSTER`` and ``SEED`` are read.
        sweep: radii to try; the one with the best simplified silhouette is taken. Empty: ``CLUSTER.EPS``.
        source: name of the table, for the record.

    Raises:
        UserError: the clusterer refuses, needs cameras that are not known, or finds nothing.
    """
    vectors = normalize(torch.from_numpy(np.asarray(table.vectors, dtype=np.float32)))
    names = camera_numbers(table.cameras)
    camids = torch.tensor([names[camera] for camera in table.cameras])
    metric = PairGraphBuilder.from_config(cfg).metric
    if metric == CAMERA_JACCARD and not table.has_cameras:
        raise UserError("CLUSTER.METRIC ca_jaccard needs cameras, which the table lacks: extract with --camera-regex.")
    tries: list[Try] = []
    eps: float | None
    if sweep:
        clustering, tries, eps = _swept(vectors, camids, cfg, sorted(sweep), table.paths)
    else:
        clusterer = _clusterer(cfg, table.paths)
        graph = _graph(vectors, camids, cfg, clusterer.radius)
        with task("clustering"):
            clustering = clusterer.cluster(vectors, graph, seed=cfg.SEED, camids=camids)
        eps = cfg.CLUSTER.EPS if clustering.eps is None and takes_eps(cfg) else clustering.eps
    if clustering.num_clusters == 0:
        raise UserError(
            f"{cfg.CLUSTER.NAME} finds no identity among {len(table)} images: every one is an outlier. Raise the eps, "
            "or lower CLUSTER.MIN_SAMPLES."
        )
    labels = by_size(clustering.labels)
    sure = confidences(vectors, labels)
    meta = {
        "root": table.meta.root,
        "features": source,
        "fingerprint": table.meta.fingerprint,
        "clusterer": {"CLUSTER.NAME": cfg.CLUSTER.NAME, **_changed(cfg)},
        "eps": None if eps is None else float(eps),
        "score": simplified_silhouette(vectors, labels),
        "sweep": [vars(one) for one in tries],
        "threshold": calibrate(vectors, labels),
    }
    pids = [NO_IDENTITY if label < 0 else str(label) for label in labels.tolist()]
    return IdentityTable(list(table.paths), list(table.cameras), pids, sure.numpy(), meta)


def by_size(labels: Tensor) -> Tensor:
    """Labels numbered anew: 0 for the largest cluster; -1 stays. Of equal ones the first found comes first."""
    sizes = torch.bincount(labels[labels >= 0])
    order = torch.argsort(sizes, descending=True, stable=True)
    number = torch.empty_like(order)
    number[order] = torch.arange(len(order))
    return torch.where(labels >= 0, number[labels.clamp(min=0)] if len(order) else labels, -1)


def _graph(vectors: Tensor, camids: Tensor, cfg: CfgNode, radius: float | None) -> PairGraph | None:
    if radius is None:
        return None
    with task("neighbours", len(vectors), "images"):
        return PairGraphBuilder.from_config(cfg)(vectors, radius, camids=camids)


def radii(table: FeatureTable, cfg: CfgNode) -> tuple[float, ...]:
    """Radii to try: fixed ones for Jaccard distances, which have one scale, else those of the table itself."""
    metric = PairGraphBuilder.from_config(cfg).metric
    if metric not in ("euclidean", "cosine"):
        return SWEEP
    vectors = normalize(torch.from_numpy(np.asarray(table.vectors, dtype=np.float32)))
    squared = knn(vectors, min(cfg.CLUSTER.MIN_SAMPLES, len(vectors)))[0][:, -1]
    distance = squared.clamp(min=0).sqrt() if metric == "euclidean" else squared / 2
    found = torch.quantile(distance.double(), torch.tensor(QUANTILES, dtype=torch.float64)).unique()
    return tuple(float(eps) for eps in found if eps > 0)


def _clusterer(cfg: CfgNode, paths: Sequence[str], eps: float | None = None) -> Clusterer:
    """The clusterer of a config, at another eps, with the answers of ``CLUSTER.REVIEW`` in force."""
    if eps is not None:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.CLUSTER.EPS = eps
    clusterer = build_clusterer(cfg)
    return FollowAnswers(clusterer, load_answers(cfg.CLUSTER.REVIEW, paths)) if cfg.CLUSTER.REVIEW else clusterer


def _swept(
    vectors: Tensor, camids: Tensor, cfg: CfgNode, sweep: Sequence[float], paths: Sequence[str]
) -> tuple[Clustering, list[Try], float]:
    """One graph, up to the largest radius, for all of them."""
    clusterers = [_clusterer(cfg, paths, eps) for eps in sweep]
    graph = _graph(vectors, camids, cfg, max(clusterer.radius or 0.0 for clusterer in clusterers))
    tries: list[Try] = []
    best: Clustering | None = None
    with task("eps sweep", len(sweep), "radii") as work:
        for eps, clusterer in zip(sweep, clusterers):
            found = clusterer.cluster(vectors, graph, seed=cfg.SEED, camids=camids)
            score = simplified_silhouette(vectors, found.labels)
            if best is None or score > max(one.score for one in tries):
                best, chosen = found, eps
            tries.append(Try(eps, found.num_clusters, int((found.labels < 0).sum()), score))
            logger.info("eps %.3f: %d identities, %d outliers, score %.3f", *vars(tries[-1]).values())
            work.advance()
    assert best is not None
    return best, tries, chosen


def _changed(cfg: CfgNode) -> dict[str, Any]:
    default = dict(leaves(load_config(None)))
    return {
        key: value
        for key, value in leaves(cfg)
        if key.startswith("CLUSTER.") and key not in ("CLUSTER.NAME", "CLUSTER.EPS") and value != default[key]
    }
