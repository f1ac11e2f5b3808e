"""The sweep: every choice clustered, scored without labels, and as a table."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.clustering.dbscan import dbscan
from unreid.engine.tuning.choices import Space, spaces
from unreid.engine.tuning.lists import Neighborhood
from unreid.engine.tuning.options import Values
from unreid.evaluation.label_signs import camera_signs
from unreid.evaluation.selection import recipe_score, simplified_silhouette, stability
from unreid.neighbors import PairGraphBuilder, camera_centered
from unreid.utils.seed import generator_for

logger = logging.getLogger(__name__)

KEPT = 0.8  # share of the samples that a perturbed clustering sees


@dataclass(frozen=True)
class Row:
    """One choice and what its clustering shows; nothing of it comes from labels.

    Attributes:
        labels: int32 (N,), -1 for outliers.
        stability: agreement with clusterings of random subsets, mean; 0 with fewer than two clusters.
        silhouette: how much nearer samples are to their own centroid than to the next, in the features clustered.
        crossing: pairs of two cameras inside clusters over chance, see
            :class:`~unreid.evaluation.label_signs.CameraSigns`;
            None without cameras.
        score: :func:`~unreid.evaluation.selection.recipe_score` of the three.
    """

    space: Space
    eps: float
    min_samples: int
    labels: Tensor
    clusters: int
    outliers: int
    largest: int
    stability: float
    silhouette: float
    crossing: float | None
    score: float

    def overrides(self) -> dict[str, bool | int | float | str]:
        """Config key -> value."""
        return {**self.space.overrides(), "CLUSTER.EPS": self.eps, "CLUSTER.MIN_SAMPLES": self.min_samples}

    @property
    def sizes(self) -> list[int]:
        """Members of every cluster."""
        return torch.bincount(self.labels[self.labels >= 0]).tolist()


def sweep(
    features: Tensor,
    camids: Tensor | None,
    values: Values,
    template: PairGraphBuilder,
    *,
    subsets: int = 2,
    seed: int = 0,
) -> list[Row]:
    """Clusters every choice and scores it.

    Neighbours are searched once for the features and once for the centred ones; every graph is made from these lists,
    also those of the random subsets that stability is measured on.

    Args:
        features: float32 (N, D), as the method clusters them.
        camids: int64 (N,), or None without cameras: then nothing is centred and no metric is camera-aware.
        template: tolerance, search and back-end of the graphs.
        subsets: perturbed clusterings of every choice.

    Returns:
        The rows, best score first; equal scores in the order of the sweep.
    """
    camids = None if camids is None else camids.to(features.device)
    graphs = spaces(values, camids is not None)
    draw = [_subset(len(features), seed, number).to(features.device) for number in range(subsets)]
    rows: list[Row] = []
    begun = time.perf_counter()
    for centered in dict.fromkeys(space.centered for space in graphs):
        own = [space for space in graphs if space.centered == centered]
        seen = features if not centered or camids is None else camera_centered(features, camids)
        builders = [space.builder(template) for space in own]
        whole = Neighborhood.search(seen, camids, builders)
        parts = [whole.subset(kept, builders) for kept in draw]
        for space, builder in zip(own, builders):
            radius = max(values.eps)
            graph = whole.graph(builder, radius)
            perturbed = [part.graph(builder, radius) for part in parts]
            for eps in values.eps:
                for least in values.min_samples:
                    labels = dbscan(graph, eps, least, builder.tol)[0]
                    others = [dbscan(part, eps, least, builder.tol)[0] for part in perturbed]
                    rows.append(_row(space, eps, least, labels, others, draw, seen, camids))
            done = len(rows) / (len(graphs) * len(values.eps) * len(values.min_samples))
            left = (time.perf_counter() - begun) * (1 - done) / done
            logger.info("%3.0f %%  %-34s about %.0f s left", 100 * done, space, left)
    return sorted(rows, key=lambda row: -row.score)


def _subset(n: int, seed: int, number: int) -> Tensor:
    order = torch.randperm(n, generator=generator_for(seed, number))
    return order[: max(2, round(KEPT * n))].sort().values


def _row(
    space: Space,
    eps: float,
    least: int,
    labels: Tensor,
    others: Sequence[Tensor],
    draw: Sequence[Tensor],
    features: Tensor,
    camids: Tensor | None,
) -> Row:
    sizes = torch.bincount(labels[labels >= 0])
    agreement, silhouette = 0.0, 0.0
    crossing = None if camids is None else camera_signs(labels, camids).crossing
    if len(sizes) > 1:
        found = [stability(labels[kept], other) for kept, other in zip(draw, others)]
        agreement = sum(found) / len(found)
        silhouette = simplified_silhouette(features, labels)
    return Row(
        space,
        eps,
        least,
        labels.int().cpu(),
        clusters=len(sizes),
        outliers=int((labels < 0).sum()),
        largest=int(sizes.max()) if len(sizes) else 0,
        stability=agreement,
        silhouette=silhouette,
        crossing=crossing,
        score=recipe_score(agreement, silhouette, crossing),
    )
