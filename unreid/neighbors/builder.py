"""Builds the pair graph that a config describes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unreid.neighbors.camera_jaccard import camera_jaccard_graph, list_widths
from unreid.neighbors.camera_lists import CameraLists, camera_lists
from unreid.neighbors.jaccard import jaccard_graph, list_width
from unreid.neighbors.knn import knn
from unreid.neighbors.metric import metric_graph
from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_features, as_integers
from unreid.utils.distributed import all_gather_rows, get_rank, get_world_size
from unreid.utils.errors import UserError

JACCARD, CAMERA_JACCARD = "jaccard", "ca_jaccard"


@dataclass(frozen=True)
class CameraNeighbors:
    """Sizes of the camera-aware distance; see :func:`~unreid.neighbors.camera_jaccard.camera_jaccard_graph`.

    Attributes:
        k2_first: replaces ``k2_intra`` and ``k2_inter`` in round 0, as published.
    """

    k1_intra: int = 5
    k1_inter: int = 20
    k2_intra: int = 2
    k2_inter: int = 4
    k2_first: int = 3
    ckrnn: bool = True
    clqe: bool = True

    def at(self, round: int) -> CameraNeighbors:
        """The sizes of a round."""
        return replace(self, k2_intra=self.k2_first, k2_inter=self.k2_first) if round == 0 else self

    @property
    def widths(self) -> tuple[int, int]:
        """Widths of the neighbour lists: of the own camera, of the others."""
        return list_widths(self.k1_intra, self.k1_inter, self.k2_intra, self.k2_inter)


@dataclass(frozen=True)
class PairGraphBuilder:
    """Features in, pair graph out; with several processes each searches the neighbours of its share of the rows.

    Attributes:
        metric: "jaccard", "ca_jaccard" (needs cameras), "euclidean" or "cosine"; for the last two only ``tol`` counts.
        tol, k1, k2, k1_includes_self, backend, knn_backend: see
            :func:`~unreid.neighbors.jaccard.jaccard_graph`.
        cameras: sizes of "ca_jaccard", which has no use for ``k1`` and ``k2`` but in its ablations.
    """

    metric: str = JACCARD
    tol: float = 1e-6
    k1: int = 30
    k2: int = 6
    k1_includes_self: bool = True
    backend: str = "auto"
    knn_backend: str = "torch"
    cameras: CameraNeighbors = CameraNeighbors()

    @classmethod
    def from_config(cls, cfg: Any) -> PairGraphBuilder:
        """Reads ``CLUSTER.{METRIC,K1,K2,K1_INCLUDES_SELF,KNN.BACKEND,CA.*}``."""
        node, cameras = cfg.CLUSTER, cfg.CLUSTER.CA
        return cls(
            metric=node.METRIC,
            k1=node.K1,
            k2=node.K2,
            k1_includes_self=node.K1_INCLUDES_SELF,
            knn_backend=node.KNN.BACKEND,
            cameras=CameraNeighbors(
                k1_intra=cameras.K1_INTRA,
                k1_inter=cameras.K1_INTER,
                k2_intra=cameras.K2_INTRA,
                k2_inter=cameras.K2_INTER,
                ckrnn=cameras.CKRNN,
                clqe=cameras.CLQE,
            ),
        )

    def __call__(
        self,
        features: ArrayLike,
        radius: float,
        *,
        camids: ArrayLike | None = None,
        round: int = 1,
        shared: bool = True,
    ) -> PairGraph:
        """Every pair up to ``radius``, of (N, D) features that are the same on every process.

        Args:
            camids: int (N,); read by "ca_jaccard" only.
            round: of training, from 0; "ca_jaccard" takes other sizes in the first.
            shared: the search is shared by the processes, which all call :meth:`assist`; False: done here alone.

        Raises:
            UserError: "ca_jaccard" without cameras.
        """
        features = as_features(features)
        shared = shared and get_world_size() > 1
        if self.metric == CAMERA_JACCARD:
            return self._camera_graph(features, radius, camids, round, shared)
        if self.metric != JACCARD:
            return metric_graph(features, metric=self.metric, radius=radius, tol=self.tol)
        return jaccard_graph(
            features,
            k1=self.k1,
            k2=self.k2,
            k1_includes_self=self.k1_includes_self,
            radius=radius,
            tol=self.tol,
            backend=self.backend,
            neighbors=self._search(features) if shared else None,
            knn_backend=self.knn_backend,
        )

    def search(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Distances and indices (N, k) of the nearest rows, self first, as :func:`unreid.neighbors.knn` gives them.

        All processes call it: each searches for its share of the rows, and all get the whole.
        """
        distance, index = knn(
            features,
            min(k, len(features)),
            queries=_share(features) if get_world_size() > 1 else None,
            backend=self.knn_backend,
        )
        return all_gather_rows(distance), all_gather_rows(index)

    def assist(self, features: Tensor, *, camids: Tensor | None = None, round: int = 1) -> None:
        """Takes part in the search of the process that builds the graph; for all processes that do not."""
        if self.metric == JACCARD:
            self._search(features)
        elif self.metric == CAMERA_JACCARD and camids is not None:
            self._camera_search(features, camids, round)

    def _camera_graph(
        self, features: Tensor, radius: float, camids: ArrayLike | None, round: int, shared: bool
    ) -> PairGraph:
        if camids is None:
            raise UserError("CLUSTER.METRIC ca_jaccard needs the camera of every sample (camids).")
        camids = as_integers(camids, "camids", len(features)).to(features.device)
        cameras = self.cameras.at(round)
        return camera_jaccard_graph(
            features,
            camids,
            k1_intra=cameras.k1_intra,
            k1_inter=cameras.k1_inter,
            k2_intra=cameras.k2_intra,
            k2_inter=cameras.k2_inter,
            ckrnn=cameras.ckrnn,
            clqe=cameras.clqe,
            k1=self.k1,
            k2=self.k2,
            radius=radius,
            tol=self.tol,
            backend=self.backend,
            lists=self._camera_search(features, camids, round) if shared else None,
            knn_backend=self.knn_backend,
        )

    def _search(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.search(features, list_width(self.k1, self.k1_includes_self))

    def _camera_search(self, features: Tensor, camids: Tensor, round: int) -> CameraLists:
        part = camera_lists(
            features,
            camids,
            *self.cameras.at(round).widths,
            queries=_share(features),
            backend=self.knn_backend,
        )
        return CameraLists(
            all_gather_rows(part.intra_distance),
            all_gather_rows(part.intra),
            all_gather_rows(part.inter_distance),
            all_gather_rows(part.inter),
        )


def _share(features: Tensor) -> Tensor:
    """int64: the rows whose neighbours this process searches."""
    rank, world, n = get_rank(), get_world_size(), len(features)
    return torch.arange(n * rank // world, n * (rank + 1) // world, device=features.device)
