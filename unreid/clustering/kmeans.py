"""k-means on the features."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering.base import CLUSTERERS, Clusterer, Turn
from unreid.structures import Clustering, PairGraph
from unreid.utils.arrays import as_rows
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


@CLUSTERERS.register("KMeans")
class KMeans(Clusterer):
    """One run of k-means with k-means++ seeding; no outliers.

    faiss iterates where it is installed, scikit-learn otherwise, from the same start; both stop when nothing moves any
    more, but treat clusters that run empty differently: these are left out. ``centroids`` are the L2-normalised means.
    Everything random comes from (seed, round).

    Args:
        num_clusters: C.
        library: "auto", "faiss" or "sklearn".

    Raises:
        UserError: (of ``cluster``) there are fewer samples than clusters.
    """

    def __init__(self, num_clusters: int = 750, *, max_iter: int = 100, library: str = "auto") -> None:
        if library not in ("auto", "faiss", "sklearn"):
            raise ValueError(f"library must be auto, faiss or sklearn, not {library!r}")
        self.num_clusters = num_clusters
        self.max_iter = max_iter
        self.library = library

    @classmethod
    def from_config(cls, cfg: Any) -> KMeans:
        return cls(cfg.CLUSTER.NUM_CLUSTERS)

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        features = as_rows(features)
        if len(features) < self.num_clusters:
            raise UserError(
                f"k-means cannot make CLUSTER.NUM_CLUSTERS {self.num_clusters} of {len(features)} samples: lower it."
            )
        rows = np.ascontiguousarray(features.detach().float().cpu().numpy())
        state = int(np.random.SeedSequence([turn.seed, turn.round]).generate_state(1)[0] % 2**31)
        labels, centers = self._run(rows, state)
        present = np.unique(labels)
        centroids = normalize(torch.from_numpy(centers[present]).to(features.device, torch.float32), dim=1)
        return Clustering.from_labels(labels.astype(np.int64), centroids=centroids)

    def _run(self, rows: np.ndarray, state: int) -> tuple[np.ndarray, np.ndarray]:
        """Labels (N,) and means (C, D)."""
        from sklearn.cluster import KMeans as Lloyd
        from sklearn.cluster import kmeans_plusplus

        start, _ = kmeans_plusplus(rows, self.num_clusters, random_state=state)
        if self.library != "sklearn":
            try:
                return self._run_faiss(rows, start, state)
            except ModuleNotFoundError as error:
                if self.library == "faiss":
                    raise UserError("k-means with faiss needs the package faiss-cpu or faiss-gpu.") from error
                logger.info("faiss is not installed: k-means runs in scikit-learn")
        found = Lloyd(self.num_clusters, init=start, n_init=1, max_iter=self.max_iter, random_state=state).fit(rows)
        return found.labels_, found.cluster_centers_

    def _run_faiss(self, rows: np.ndarray, start: np.ndarray, state: int) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        settings = {"niter": self.max_iter, "seed": state, "min_points_per_centroid": 1}
        lloyd = faiss.Kmeans(rows.shape[1], self.num_clusters, max_points_per_centroid=len(rows), **settings)
        lloyd.train(rows, init_centroids=start)
        return lloyd.index.search(rows, 1)[1][:, 0], np.asarray(lloyd.centroids)
