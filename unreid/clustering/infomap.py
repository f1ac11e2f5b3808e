"""Infomap (Rosvall & Bergstrom, PNAS 2008) on the pair graph: communities that a random walker stays in.

Cluster Contrast (Dai et al., ACCV 2022) reports its best figures with it.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, Clusterer, Turn, needed_graph
from unreid.structures import Clustering, PairGraph
from unreid.utils.errors import UserError


@CLUSTERERS.register("Infomap")
@dataclass(eq=False)
class Infomap(Clusterer):
    """Two-level Infomap over links of weight ``1 - distance``; small communities become outliers.

    Args:
        eps: pairs farther apart are no link.
        min_samples: smallest community that counts as a cluster.
        tol: added to eps.

    Raises:
        UserError: (of ``cluster``) the package ``infomap`` is not installed.
    """

    eps: float = 0.6
    min_samples: int = 4
    _: KW_ONLY
    tol: float = 1e-6

    @classmethod
    def from_config(cls, cfg: Any) -> Infomap:
        return cls(cfg.CLUSTER.EPS, cfg.CLUSTER.MIN_SAMPLES)

    @property
    def radius(self) -> float:
        return self.eps

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        near = needed_graph(self, graph).within(self.eps, self.tol)
        labels = self._communities(near, turn.seed + turn.round)
        sizes = np.bincount(labels[labels >= 0], minlength=1)
        labels[(labels >= 0) & (sizes[labels] < self.min_samples)] = -1
        return Clustering.from_labels(torch.from_numpy(labels), eps=self.eps)

    def _communities(self, graph: PairGraph, seed: int) -> np.ndarray:
        """int64 (N,): community of every linked sample, -1 for samples without a link."""
        try:
            from infomap import Infomap as Search
        except ModuleNotFoundError as error:
            raise UserError("CLUSTER.NAME Infomap needs the package infomap: pip install 'unreid[infomap]'.") from error
        labels = np.full(graph.n, -1, dtype=np.int64)
        weight = 1.0 - graph.dist.double().cpu().numpy()
        linked = weight > 0
        if not linked.any():
            return labels
        ends = [part.cpu().numpy()[linked].astype(np.float64) for part in (graph.i, graph.j)]
        search = Search(silent=True, two_level=True, seed=seed % (2**31 - 1) + 1)
        search.add_links(np.stack([*ends, weight[linked]], axis=1))
        search.run()
        for node, module in search.get_modules().items():
            labels[node] = module
        return labels
