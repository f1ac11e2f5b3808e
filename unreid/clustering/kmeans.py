"""k-means on the features, by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unreid.clustering.base import CLUSTERERS, Clusterer
from unreid.structures import Clustering, PairGraph
from unreid.utils.errors import UserError


@CLUSTERERS.register("KMeans")
class KMeans(Clusterer):
    """One run of k-means with k-means++ seeding; no outliers.

    Args:
        num_clusters: C.
        max_iter: Lloyd iterations at most.
    """

    def __init__(self, num_clusters: int = 750, *, max_iter: int = 300) -> None:
        self.num_clusters = num_clusters
        self.max_iter = max_iter

    @classmethod
    def from_config(cls, cfg: Any) -> KMeans:
        return cls(cfg.CLUSTER.NUM_CLUSTERS)

    def cluster(
        self,
        features: Tensor,
        graph: PairGraph | None,
        *,
        round: int = 0,
        seed: int = 0,
        camids: Tensor | None = None,
    ) -> Clustering:
        """See :class:`Clusterer`; ``centroids`` are the L2-normalised means.

        Raises:
            UserError: there are fewer samples than clusters.
        """
        if len(features) < self.num_clusters:
            raise UserError(
                f"k-means cannot make CLUSTER.NUM_CLUSTERS {self.num_clusters} of {len(features)} samples: lower it."
            )
        from sklearn.cluster import KMeans as Lloyd

        rows = features.detach().float().cpu().numpy()
        state = np.random.SeedSequence([seed, round]).generate_state(1)[0]
        found = Lloyd(self.num_clusters, n_init=1, max_iter=self.max_iter, random_state=int(state)).fit(rows)
        centroids = F.normalize(torch.from_numpy(found.cluster_centers_).to(features.device, torch.float32), dim=1)
        labels = torch.from_numpy(found.labels_.astype(np.int64))
        present = torch.unique(labels)
        return Clustering.from_labels(labels, centroids=centroids[present.to(centroids.device)])
