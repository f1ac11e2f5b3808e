"""Where HDC starts: initial labels with their centroids."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from unreid.clustering.hdc.distances import build_similarity
from unreid.clustering.hdc.sparse import SparseDistances
from unreid.utils.means import segment_means

INITS = ("k-means++2", "k-means++", "random")


def draw_kmeanspp(num_samples: int, num_clusters: int, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """The draws that :func:`kmeanspp_on_matrix` takes: first index, and uniforms float64 (C - 1, 2 + int(ln C))."""
    first = int(rng.integers(num_samples))
    return first, rng.random((num_clusters - 1, 2 + int(math.log(num_clusters))))


def kmeanspp_on_matrix(dist: Tensor | SparseDistances, first_index: int, uniforms: np.ndarray | Tensor) -> Tensor:
    """Greedy k-means++ on given distances, the distance itself (not its square) being the weight (3C, k-means++2).

    Per further centre, trial t proposes the sample at which the running sum of the distances to the nearest centre
    reaches ``uniforms[c, t]`` times the total; the proposal that leaves the smallest total is kept (first on a tie).
    Sums are float64. Nothing is read back to the host between centres.

    Args:
        dist: float32 (N, N), symmetric.
        uniforms: float64 (C - 1, T) in [0, 1).

    Returns:
        int64 (C,), sample indices of the centres.
    """
    draws = torch.as_tensor(uniforms, dtype=torch.float64, device=dist.device)
    centres = torch.full((len(draws) + 1,), int(first_index), device=dist.device)
    closest = dist[int(first_index)].clone()
    for step in range(len(draws)):
        cumulative = closest.cumsum(0, dtype=torch.float64)
        proposals = torch.searchsorted(cumulative, draws[step] * cumulative[-1]).clamp_(max=len(dist) - 1)
        candidates = torch.minimum(dist[proposals], closest)
        best = candidates.sum(1, dtype=torch.float64).argmin()
        centres[step + 1] = proposals[best]
        closest = candidates[best]
    return centres


def initial_state(
    features: Tensor,
    dist: Tensor | SparseDistances,
    num_clusters: int,
    *,
    init: str = "k-means++2",
    similarity: str = "euler_cosine",
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Initial labels int64 (N,) and centroids float32 (C, D).

    Args:
        features: float32 (N, D).
        dist: float32 (N, N), the matrix HDC will work on; read by "k-means++2" only.
        num_clusters: C.
        init: "k-means++2" (greedy k-means++ on ``dist``), "k-means++" (scikit-learn's, on the features) or "random"
            (uniform labels; with a Jaccard matrix it collapses at once and is rebuilt by relocation: an option for
            comparisons only).
        similarity: decides the nearest centroid after "k-means++".

    Raises:
        ValueError: for an unknown ``init``.
    """
    if init == "k-means++2":
        centres = kmeanspp_on_matrix(dist, *draw_kmeanspp(len(dist), num_clusters, rng))
        return dist.index_select(1, centres).argmin(1), features[centres].clone()
    if init == "k-means++":
        return _feature_kmeanspp(features, num_clusters, similarity, rng)
    if init == "random":
        labels = torch.from_numpy(rng.integers(num_clusters, size=len(features))).to(features.device)
        return labels, segment_means(features, labels, num_clusters, dtype=torch.float32)[0]
    raise ValueError(f"unknown init {init!r}; known: {', '.join(INITS)}")


def _feature_kmeanspp(
    features: Tensor, num_clusters: int, similarity: str, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    from sklearn.cluster import kmeans_plusplus

    host = features.float().cpu().numpy()
    _, centres = kmeans_plusplus(host, num_clusters, random_state=int(rng.integers(2**31)))
    centroids = features[torch.from_numpy(centres.astype(np.int64)).to(features.device)].clone()
    measure = build_similarity(similarity)
    table = measure.encode(centroids)
    parts = [measure.cross(measure.encode(rows), table).argmin(1) for rows in features.split(1024)]
    return torch.cat(parts), centroids
