"""HDC behind the interface of the clusterers."""

from __future__ import annotations

import logging
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unreid.clustering.base import CLUSTERERS, Clusterer, Turn, needed_graph
from unreid.clustering.hdc.distances import SIMILARITIES, distance_matrix
from unreid.clustering.hdc.iteration import HDCOptions, HDCState, check_sizes, fit
from unreid.clustering.hdc.seeding import INITS, initial_state
from unreid.clustering.hdc.sparse import SparseDistances
from unreid.neighbors.builder import PairGraphBuilder
from unreid.neighbors.jaccard import MAX_RADIUS
from unreid.structures import Clustering, PairGraph
from unreid.utils.arrays import as_rows
from unreid.utils.errors import InputError
from unreid.utils.seed import np_generator_for
from unreid.utils.settings import settings

DENSE_UP_TO = 4096  # samples whose graph is laid out as a matrix (64 MiB)
SPARSE_SHARE = 1 / 32  # of all pairs that a graph may list to be worked on as it is: an entry costs more than a cell

logger = logging.getLogger(__name__)


@CLUSTERERS.register("HDC")
@dataclass(eq=False)
class HDC(Clusterer):
    """Harmonic discrepancy clustering into C clusters (3C, arXiv 2408.09464), seeded by (seed, round).

    Memory: N x 2D for the encoded features, some N x C for the discrepancies, and buffers of ``block`` rows; and the
    pairs of the graph, or one float32 N x N matrix: up to ``DENSE_UP_TO`` samples, without a graph, with constraints
    on its unlisted pairs, and where it lists more than ``SPARSE_SHARE`` of all pairs.

    ``extras`` of the clustering: "iterations", "shift" and "peripheral" (their number).

    Args:
        num_clusters: C.
        init: "k-means++2" (on the distance matrix), "k-means++" or "random".
        outlier: peripheral samples become outliers; centroids leave them out either way.
        use_centroids: return HDC's centroids (L2-normalised) for the memory; otherwise it takes the members' means.
        use_jaccard: discrepancies between samples come from the Jaccard graph; otherwise from the normalised
            distances of the features.
        options: see :class:`~unreid.clustering.hdc.iteration.HDCOptions`.
        k1, k2: of the graph that ``fit`` builds, see :func:`~unreid.neighbors.jaccard_graph`; 3C's lists do not count
            the sample itself.

    Raises:
        ValueError: for an unknown init or similarity, or C < 1.
        UserError: (of ``cluster``) there are fewer samples than clusters.
    """

    num_clusters: int
    _: KW_ONLY
    init: str = "k-means++2"
    outlier: bool = True
    use_centroids: bool = True
    use_jaccard: bool = True
    options: HDCOptions = field(default_factory=HDCOptions)
    k1: int = 30
    k2: int = 6

    def __post_init__(self) -> None:
        similarity = self.options.similarity
        if self.init not in INITS or similarity not in SIMILARITIES or self.num_clusters < 1:
            raise ValueError(f"HDC with init {self.init!r}, {similarity!r} and {self.num_clusters} clusters")
        self.graph_builder = PairGraphBuilder(k1=self.k1, k2=self.k2, k1_includes_self=False)

    @classmethod
    def from_config(cls, cfg: Any) -> HDC:
        node = cfg.CLUSTER.HDC
        stop = settings(node, "SIMILARITY", "MAX_ITER", "NORMALIZE_CENTROID")
        options = HDCOptions(threshold=node.THRESHOLD or None, **stop)
        own = settings(node, "INIT", "OUTLIER", "USE_CENTROIDS", "USE_JACCARD")
        return cls(cfg.CLUSTER.NUM_CLUSTERS, options=options, **own)

    @property
    def radius(self) -> float | None:
        return MAX_RADIUS if self.use_jaccard else None

    def _cluster(self, features: Tensor, graph: PairGraph | None, turn: Turn) -> Clustering:
        features = as_rows(features).float()
        check_sizes(len(features), self.num_clusters)
        dist = self._distances(features, graph)
        labels, centroids = initial_state(
            features,
            dist,
            self.num_clusters,
            init=self.init,
            similarity=self.options.similarity,
            rng=np_generator_for(turn.seed, turn.round),
        )
        state = fit(features, dist, labels, centroids, self.options, overwrite_dist=True)
        return self._clustering(state)

    def _distances(self, features: Tensor, graph: PairGraph | None) -> Tensor | SparseDistances:
        if not self.use_jaccard:
            return distance_matrix(features, similarity=self.options.similarity, block=self.options.block)
        graph = needed_graph(self, graph)
        if graph.n != len(features):
            raise InputError(f"The pair graph is of {graph.n} samples and there are {len(features)} features.")
        graph = graph.to(features.device)
        few = graph.n > DENSE_UP_TO and 2 * len(graph) <= SPARSE_SHARE * graph.n**2
        return SparseDistances(graph) if few and graph.beyond is None else graph.to_dense()

    def _clustering(self, state: HDCState) -> Clustering:
        peripheral = int((state.core_labels < 0).sum())
        logger.info("HDC: %d iterations, shift %.3g, %d peripheral", state.iteration + 1, state.shift, peripheral)
        labels = state.core_labels if self.outlier else state.labels
        found = torch.unique(labels[labels >= 0])
        centroids = F.normalize(state.centroids[found], dim=1) if self.use_centroids else None
        return Clustering.from_labels(
            labels,
            centroids=centroids,
            extras={"iterations": state.iteration + 1, "shift": state.shift, "peripheral": peripheral},
        )
