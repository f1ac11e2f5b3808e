"""Signs, seen without any true identity, that pseudo labels mislead the training.

Pure functions of labels, cameras, features and the pair graph; each gives figures, and the sentences about them are
made from these alone. Measured on CUHK03 with a published model: of a thousand first clusters nine in ten hold one
camera, and training on them lowers mAP from round to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unreid.structures import PairGraph
from unreid.utils.arrays import ArrayLike, as_ids, as_integers
from unreid.utils.errors import InputError

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class CameraSigns:
    """Clusters against cameras; clusters of one sample are left out.

    Attributes:
        clusters: how many clusters have two samples or more.
        covered: share of all samples that are in them.
        single: share of them whose samples all come from one camera.
        chance: that share if cameras fell to the samples of a cluster at random, by the cameras' sizes.
        crossing: pairs inside clusters from two cameras, the mean over clusters weighted by size, over what chance
            would give; 1 where clusters are as mixed as the data, 0 where none holds two cameras.
    """

    clusters: int
    covered: float
    single: float
    chance: float
    crossing: float


def camera_signs(labels: ArrayLike, camids: ArrayLike) -> CameraSigns:
    """How clusters lie over the cameras, in O(N).

    Args:
        labels: integers (N,), -1 for outliers.
        camids: cameras (N,), integers or strings.

    Raises:
        InputError: the lengths differ.
    """
    labels = as_integers(labels).cpu()
    cameras = torch.unique(as_ids(camids, "camids").cpu(), return_inverse=True)[1]
    if len(labels) != len(cameras):
        raise InputError(f"{len(labels)} labels for {len(cameras)} cameras")
    inside = labels >= 0
    _, member, sizes = torch.unique(labels[inside], return_inverse=True, return_counts=True)
    large = sizes > 1
    if not bool(large.any()):
        return CameraSigns(0, 0.0, 0.0, 0.0, 0.0)
    count = int(cameras.max()) + 1
    cells, filled = torch.unique(member * count + cameras[inside], return_counts=True)
    owner = torch.div(cells, count, rounding_mode="floor")
    occupied = torch.bincount(owner, minlength=len(sizes))
    same = torch.zeros(len(sizes), dtype=torch.float64).index_add_(0, owner, (filled * (filled - 1)).double())
    shares = torch.bincount(cameras).double() / len(cameras)
    size = sizes[large].double()
    across = 1 - same[large] / (size * (size - 1))
    by_chance = 1 - float(shares.square().sum())
    kinds, often = torch.unique(size, return_counts=True)
    of_size = (shares[:, None] ** kinds).sum(dim=0)
    return CameraSigns(
        clusters=len(size),
        covered=float(size.sum()) / len(labels),
        single=float((occupied[large] == 1).double().mean()),
        chance=float((of_size * often).sum() / often.sum()),
        crossing=float((across * size).sum() / size.sum()) / by_chance if by_chance > 0 else 0.0,
    )


def separates_cameras(signs: CameraSigns) -> bool:
    """Whether training on such clusters pushes the cameras apart.

    Three quarters of the clusters hold one camera each where less than half of that is chance, and they are what is
    trained on: half of the samples, thirty clusters.
    """
    trained = signs.clusters >= 30 and signs.covered >= 0.5
    return trained and signs.single >= 0.75 and signs.chance < signs.single / 2


def falls(scores: Sequence[float], *, rounds: int = 3, share: float = 0.8) -> bool:
    """Whether a score has fallen for so many rounds in a row, below a share of the best before.

    Args:
        scores: of the rounds so far, the first that has one first.
    """
    last = scores[-rounds - 1 :]
    return len(last) > rounds and all(b < a for a, b in zip(last, last[1:])) and last[-1] < share * max(scores)


@dataclass(frozen=True)
class Reach:
    """How far the samples' neighbours are, against a radius.

    Attributes:
        neighbor: k of the k-th neighbour that is looked at, the sample itself counted.
        quartiles: of the distance to it; 1 stands for "beyond what the graph knows".
        within: share of the samples that have it within the radius.
    """

    neighbor: int
    quartiles: tuple[float, float, float]
    within: float


def reach(graph: PairGraph, radius: float, neighbor: int) -> Reach:
    """Distances to the ``neighbor``-th neighbour of every sample (itself the first), against ``radius``.

    Args:
        graph: pairs up to well beyond the radius.
        neighbor: at least 1; ``CLUSTER.MIN_SAMPLES`` makes it the distance from which on a sample is a core point.
    """
    distance = neighbor_distances(graph, neighbor)
    levels = torch.tensor(QUARTILES, dtype=torch.float64, device=distance.device)
    low, middle, high = torch.quantile(distance.double(), levels, interpolation="higher").tolist()
    return Reach(neighbor, (low, middle, high), float((distance <= radius).double().mean()))


def neighbor_distances(graph: PairGraph, neighbor: int) -> Tensor:
    """float32 (N,): distance to the ``neighbor``-th nearest sample, itself the first; 1 where there is no such pair."""
    if neighbor <= 1:
        return graph.self_dist.clone()
    own = torch.cat((graph.i, graph.j))
    dist = torch.cat((graph.dist, graph.dist))
    by_distance = dist.argsort(stable=True)
    order = by_distance[own[by_distance].argsort(stable=True)]
    counts = torch.bincount(own, minlength=graph.n)
    place = counts.cumsum(0) - counts + neighbor - 2
    known = counts >= neighbor - 1
    found = dist.new_ones(graph.n)
    found[known] = dist[order[place[known]]]
    return found
