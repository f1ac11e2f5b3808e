"""Every camera clustered for itself, then the clusters of two cameras that are each other's nearest joined.

One search over all cameras finds images of one camera first, and its density is that of one camera: a radius that joins
cameras joins people before. Inside a camera the labels are far purer (the intra-camera stage of IICS, Xuan and Zhang,
CVPR 2021), and across cameras clusters are compared instead of images, in the order in which no rival comes close.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, Clusterer, Turn
from unreid.clustering.dbscan import dbscan
from unreid.neighbors.builder import CAMERA_JACCARD, PairGraphBuilder
from unreid.structures import Clustering, PairGraph
from unreid.utils.arrays import as_features
from unreid.utils.errors import InputError, UserError
from unreid.utils.means import segment_means


@CLUSTERERS.register("PerCameraDBSCAN")
class PerCameraDBSCAN(Clusterer):
    """DBSCAN on the graph of each camera, and links between cameras.

    A link joins two clusters of different cameras that are each other's most similar (cosine of their unit means). The
    surest come first, by how much less similar either's second choice is, up to ``links`` of all that there are. No
    joined cluster holds two clusters of one camera: these were found to be different people.

    ``extras``: ``links``, how many were made.

    Args:
        eps, min_samples, tol, graph: of each camera's DBSCAN, see
            :class:`~unreid.clustering.dbscan.DensityClusterer`. Neighbours are those of one camera: ``k1`` (10) is
            about the images of a person there.
        links: share of the mutual pairs that become links; 0: every cluster has one camera.
    """

    def __init__(
        self, eps: float = 0.5, min_samples: int = 2, *, links: float = 1.0, tol: float = 1e-6, **graph: Any
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.links_share = links
        self.tol = tol
        self.graph_builder = PairGraphBuilder(tol=tol, **{"k1": 10, "k2": 4, **graph})

    @classmethod
    def from_config(cls, cfg: Any) -> PerCameraDBSCAN:
        node, builder = cfg.CLUSTER, PairGraphBuilder.from_config(cfg)
        if builder.metric == CAMERA_JACCARD:
            raise UserError(
                "CLUSTER.NAME PerCameraDBSCAN sees one camera at a time, where ca_jaccard has nothing to balance: set "
                "CLUSTER.METRIC jaccard."
            )
        clusterer = cls(node.EPS, node.MIN_SAMPLES, links=node.CAMERA_LINKS)
        clusterer.graph_builder = builder
        return clusterer

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        features = as_features(features)
        if turn.camids is None:
            raise InputError("PerCameraDBSCAN needs the camera of every sample (camids).")
        camids = turn.camids.to(features.device)
        labels = self._within(features, camids)
        count = int(labels.max()) + 1 if len(labels) else 0
        if count < 2 or not self.links_share:
            return Clustering.from_labels(labels.cpu(), extras={"links": 0})
        means = F.normalize(segment_means(features, labels, count)[0], dim=1)
        cameras = torch.zeros(count, dtype=torch.int64, device=features.device)
        cameras[labels[labels >= 0]] = camids[labels >= 0]
        pairs, margins = mutual_pairs(means, cameras)
        kept = margins.argsort(descending=True, stable=True)[: round_up(self.links_share * len(pairs))]
        joined, links = _join(pairs[kept].tolist(), cameras.tolist())
        table = torch.tensor(joined, device=labels.device)
        labels = torch.where(labels >= 0, table[labels.clamp(min=0)], -1)
        return Clustering.from_labels(labels.cpu(), extras={"links": links})

    def _within(self, features: Tensor, camids: Tensor) -> Tensor:
        """Labels int64 (N,) without a cluster of two cameras, camera after camera."""
        labels = torch.full((len(features),), -1, dtype=torch.int64, device=features.device)
        first = 0
        for camera in camids.unique():
            rows = (camids == camera).nonzero()[:, 0]
            if len(rows) < 2:
                continue
            graph = self.graph_builder(features[rows], self.eps, shared=False)
            found = dbscan(graph, self.eps, self.min_samples, self.tol)[0]
            labels[rows] = torch.where(found >= 0, found + first, -1)
            first = max(first, int(labels.max()) + 1)
        return labels


def round_up(value: float) -> int:
    """The next whole number, deaf to the last bits of a product."""
    return int(-(-(value - 1e-9) // 1))


def mutual_pairs(means: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of different cameras that are each other's most similar, camera pair by camera pair.

    Args:
        means: float (C, D), unit rows.
        cameras: int64 (C,).

    Returns:
        pairs int64 (P, 2), and margins float (P,): similarity less the better of both rows' second choices in the
        other's camera (-1 where there is none).
    """
    pairs, margins = [], []
    members = [(cameras == camera).nonzero()[:, 0] for camera in cameras.unique()]
    for number, one in enumerate(members):
        for other in members[number + 1 :]:
            similar = means[one] @ means[other].t()
            forth, back = similar.argmax(1), similar.argmax(0)
            rows = (back[forth] == torch.arange(len(one), device=means.device)).nonzero()[:, 0]
            best = similar[rows, forth[rows]]
            margins.append(best - torch.maximum(_second(similar)[rows], _second(similar.t())[forth[rows]]))
            pairs.append(torch.stack((one[rows], other[forth[rows]]), dim=1))
    if not pairs:
        return cameras.new_empty(0, 2), means.new_empty(0)
    return torch.cat(pairs), torch.cat(margins)


def _second(similar: Tensor) -> Tensor:
    """Second largest entry of every row."""
    if similar.shape[1] < 2:
        return similar.new_full((len(similar),), -1.0)
    return similar.topk(2, dim=1).values[:, 1]


def _join(pairs: list[list[int]], cameras: list[int]) -> tuple[list[int], int]:
    """Group of every cluster after the links that bring no camera together with itself, and how many these were."""
    group = list(range(len(cameras)))
    members = {number: [number] for number in group}
    held = {number: {camera} for number, camera in enumerate(cameras)}
    links = 0
    for one, other in pairs:
        a, b = group[one], group[other]
        if a == b or held[a] & held[b]:
            continue
        links += 1
        for number in members.pop(b):
            group[number] = a
            members[a].append(number)
        held[a] |= held.pop(b)
    return group, links
