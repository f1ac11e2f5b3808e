"""Neighbour lists for a whole sweep: searched once, cut to width for every graph, filtered for every subset."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.neighbors import PairGraphBuilder, knn
from unreid.neighbors.builder import CAMERA_JACCARD
from unreid.neighbors.camera_lists import CameraLists, camera_lists
from unreid.structures import PairGraph

SPARE = 1.6  # width of the lists over what the whole set needs, so that subsets find theirs in them
_MORE = 8


@dataclass(frozen=True)
class Neighborhood:
    """Features with their neighbour lists.

    Attributes:
        features: float32 (N, D).
        camids: int64 (N,), or None without cameras.
        near: squared distances and indices (N, w), see :func:`unreid.neighbors.knn`; None where no graph needs them.
        by_camera: the lists of CA-Jaccard; None where no graph needs them.
    """

    features: Tensor
    camids: Tensor | None
    near: tuple[Tensor, Tensor] | None
    by_camera: CameraLists | None

    @classmethod
    def search(
        cls, features: Tensor, camids: Tensor | None, builders: list[PairGraphBuilder], *, spare: float = SPARE
    ) -> Neighborhood:
        """The lists that the graphs of ``builders`` need; all search with the back-end of the first."""
        aware = [builder for builder in builders if builder.metric == CAMERA_JACCARD]
        plain = [builder for builder in builders if builder.metric != CAMERA_JACCARD]
        near = by_camera = None
        backend = builders[0].knn_backend
        if plain:
            width = _wide(max(builder.k1 + 1 for builder in plain), spare, len(features))
            near = knn(features, width, backend=backend)
        if aware:
            assert camids is not None
            widths = [builder.cameras.widths for builder in aware]
            own, other = (_wide(max(width[side] for width in widths), spare, len(features)) for side in (0, 1))
            by_camera = camera_lists(features, camids, own, other, backend=backend)
        return cls(features, camids, near, by_camera)

    def graph(self, builder: PairGraphBuilder, radius: float) -> PairGraph:
        """Every pair up to ``radius``, from the lists."""
        lists = self.by_camera if builder.metric == CAMERA_JACCARD else self.near
        return builder(self.features, radius, camids=self.camids, shared=False, lists=lists)

    def subset(self, kept: Tensor, builders: list[PairGraphBuilder]) -> Neighborhood:
        """The same of some samples, from these lists; the few whose lists run short are searched again.

        Args:
            kept: int64 (M,), ascending.
        """
        place = torch.full((len(self.features),), -1, dtype=torch.int64, device=self.features.device)
        place[kept] = torch.arange(len(kept), device=kept.device)
        features = self.features[kept].contiguous()
        camids = None if self.camids is None else self.camids[kept]
        aware = [builder.cameras.widths for builder in builders if builder.metric == CAMERA_JACCARD]
        plain = [builder.k1 + 1 for builder in builders if builder.metric != CAMERA_JACCARD]
        near = by_camera = None
        if plain and self.near is not None:
            width = min(max(plain), len(kept))
            distance, index, short = _filtered(self.near[0][kept], place[self.near[1][kept]], width)
            if len(short):
                distance[short], index[short] = knn(features, width, queries=short)
            near = distance, index
        if aware and self.by_camera is not None:
            assert camids is not None
            own, other = (min(max(width[side] for width in aware), len(kept)) for side in (0, 1))
            lists = self.by_camera
            intra = _filtered(lists.intra_distance[kept], place[lists.intra[kept]], own)
            inter = _filtered(lists.inter_distance[kept], place[lists.inter[kept]], other)
            by_camera = CameraLists(intra[0], intra[1], inter[0], inter[1])
            short = torch.cat((intra[2], inter[2])).unique()
            if len(short):
                again = camera_lists(features, camids, own, other, queries=short)
                for name in ("intra_distance", "intra", "inter_distance", "inter"):
                    getattr(by_camera, name)[short] = getattr(again, name)
        return Neighborhood(features, camids, near, by_camera)


def _wide(width: int, spare: float, n: int) -> int:
    return min(n, int(spare * width) + _MORE)


def _filtered(distance: Tensor, index: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lists without the entries that are gone (-1), cut to ``width``, and the rows that hold fewer."""
    gone = index < 0
    order = gone.to(torch.int8).sort(dim=1, stable=True).indices[:, :width]
    short = ((~gone).sum(dim=1) < width).nonzero()[:, 0]
    return distance.gather(1, order), index.gather(1, order), short
