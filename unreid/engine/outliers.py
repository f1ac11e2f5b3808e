"""Why most samples are outliers, and which value of which key would take them in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.clustering import inner_clusterers
from unreid.clustering.dbscan import DensityClusterer, dbscan
from unreid.constraints import modify_graph
from unreid.evaluation.label_signs import Reach, reach
from unreid.evaluation.selection import simplified_silhouette
from unreid.methods import Method
from unreid.neighbors.builder import CAMERA_JACCARD, JACCARD
from unreid.structures import Clustering, PairGraph

WIDE = 0.9  # radius of the graph that other radii are tried on
TRIED = tuple(round(0.05 * step, 2) for step in range(2, 17))  # radii, 0.1 to 0.8
FEWER = 2  # MIN_SAMPLES that is tried beside the one in use
LARGEST = 100_000  # samples up to which a wider graph is built only to explain


@dataclass(frozen=True)
class WayOut:
    """A change of one key, and what it would give."""

    key: str
    value: float
    outliers: int
    clusters: int
    silhouette: float

    def __str__(self) -> str:
        return f"{self.key} {self.value:g} ({self.outliers:,} outliers, {self.clusters:,} clusters)"


def explain_outliers(method: Method, clustering: Clustering, round: int = 0) -> str:
    """One or two sentences about a round that leaves most samples out, with a value to set.

    A wider pair graph than that of the round is built for it, on this process alone.
    """
    count, out = len(clustering.labels), clustering.num_outliers
    begun = f"{out:,} of {count:,} samples ({out / count:.0%}) are outliers"
    density = _density(method)
    features = clustering.features
    if density is None or features is None or count > LARGEST:
        return f"{begun}. Raise CLUSTER.EPS, lower CLUSTER.MIN_SAMPLES, or compare recipes with unreid tune."
    assert method.graph_builder is not None
    eps = density.eps if clustering.eps is None else clustering.eps
    seen = method.centered(features)
    wide = method.graph_builder(seen, max(WIDE, eps), camids=method.camids, round=round, shared=False)
    graph = modify_graph(wide, method.modifiers)
    why = reach_sentence(reach(graph, eps, density.min_samples), eps)
    ways = ways_out(seen, graph, eps, density.min_samples, out)
    if not ways:
        return (
            f"{begun}. {why} No radius up to {TRIED[-1]:g} takes half of them in without one cluster of everything: "
            "the features do not tell the samples apart yet. Start from trained weights (MODEL.INIT_PATH) or a longer "
            "warm-up (WARMUP.EPOCHS)."
        )
    fixed = (
        "CLUSTER.ADAPTIVE False with " if getattr(density, "adaptive", False) and ways[0].key.endswith("EPS") else ""
    )
    return f"{begun}. {why} Set {fixed}{ways[0]}, or compare recipes with unreid tune."


def reach_sentence(found: Reach, eps: float) -> str:
    """The distances of neighbours against the radius."""
    low, middle, high = (f"{value:.2f}" if value < 1 else "beyond" for value in found.quartiles)
    return (
        f"The distance to the {_ordinal(found.neighbor)} neighbour, itself counted (CLUSTER.MIN_SAMPLES), has the "
        f"quartiles {low}, {middle} and {high}, and CLUSTER.EPS {eps:g} reaches it for {found.within:.0%} of the "
        "samples."
    )


def ways_out(features: Tensor, graph: PairGraph, eps: float, min_samples: int, outliers: int) -> list[WayOut]:
    """Changes of one key that leave fewer than half of the samples out, the best clusters first.

    Clusters are compared by their simplified silhouette over all samples; one cluster that holds a quarter of them is
    no way out.
    """
    found = []
    tried = [("CLUSTER.EPS", radius, radius, min_samples) for radius in TRIED if eps < radius <= graph.radius]
    if min_samples > FEWER:
        tried.append(("CLUSTER.MIN_SAMPLES", FEWER, eps, FEWER))
    for key, value, radius, least in tried:
        labels = dbscan(graph, radius, least)[0]
        sizes = torch.bincount(labels[labels >= 0])
        left = int((labels < 0).sum())
        if len(sizes) > 1 and left < min(outliers, len(labels) / 2) and int(sizes.max()) < len(labels) / 4:
            found.append(WayOut(key, value, left, len(sizes), simplified_silhouette(features, labels)))
    return sorted(found, key=lambda way: -way.silhouette)


def _density(method: Method) -> DensityClusterer | None:
    """The clusterer, if it has a radius of Jaccard distances and a density."""
    builder = method.graph_builder
    if builder is None or builder.metric not in (JACCARD, CAMERA_JACCARD):
        return None
    return next((part for part in inner_clusterers(method.clusterer) if isinstance(part, DensityClusterer)), None)


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
