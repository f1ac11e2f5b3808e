"""Infomap (Rosvall & Bergstrom, PNAS 2008) on the pair graph: communities that a random walker stays in.

Cluster Contrast (Dai et al., ACCV 2022) reports its best figures with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.clustering.base import CLUSTERERS, Clusterer, needed_graph
from unreid.structures import Clustering, PairGraph
from unreid.utils.errors import UserError


@CLUSTERERS.register("Infomap")
class Infomap(Clusterer):
    """Two-level Infomap over links of weight ``1 - distance``; small communities become outliers.

    Args:
        eps: pairs farther apart are no link.
        min_samples: smallest community that counts as a cluster.
        tol: added to eps.
        trials: searches from different starts, of which the best is taken.
    """

    def __init__(self, eps: float = 0.6, min_samples: int = 4, *, tol: float = 1e-6, trials: int = 1) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.tol = tol
        self.trials = trials

    @classmethod
    def from_config(cls, cfg: Any) -> Infomap:
        node = cfg.CLUSTER
        return cls(node.EPS, node.MIN_SAMPLES)

    @property
    def radius(self) -> float:
        return self.eps

    def cluster(
        self,
        features: Tensor,
        graph: PairGraph | None,
        *,
        round: int = 0,
        seed: int = 0,
        camids: Tensor | None = None,
    ) -> Clustering:
        """See :class:`Clusterer`.

        Raises:
            UserError: the package ``infomap`` is not installed.
        """
        near = needed_graph(self, graph).within(self.eps, self.tol)
        labels = self._communities(near, seed + round)
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
        search = Search(silent=True, two_level=True, num_trials=self.trials, seed=seed % (2**31 - 1) + 1)
        search.add_links(np.stack([*ends, weight[linked]], axis=1))
        search.run()
        for node, module in search.get_modules().items():
            labels[node] = module
        return labels
