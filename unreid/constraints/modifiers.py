"""SCP, STS and TOC as changes of distances (AuxUSL, arXiv 2205.03124): of pair graphs and query x gallery blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from unreid.constraints.relations import Relation
from unreid.structures import PairGraph

OVERLAP_PENALTY = 1000.0  # far beyond any distance of features: such a pair is ranked last


class Modifier(ABC):
    """Changes distances by what a relation says about the pair.

    Attributes:
        never_lowers: no distance gets smaller, so that the pairs a graph leaves out stay beyond its radius.
    """

    def __init__(self, relation: Relation) -> None:
        self.relation = relation

    @property
    @abstractmethod
    def never_lowers(self) -> bool: ...

    @abstractmethod
    def change(self, dist: Tensor, value: Tensor) -> Tensor:
        """Changed distances; ``value`` is the relation at the same pairs."""

    def apply(self, block: Tensor, rows: slice) -> Tensor:
        """Rows ``rows`` of a matrix, float (rows, columns): what the evaluator calls."""
        return self.change(block, self.relation.block(rows, block.device))


class Penalty(Modifier):
    """``d + penalty * R``: SCP against clusters of one camera's style, TOC at test against tracklets that overlap.

    Args:
        relation: R; 1 for one camera (SCP), or for tracklets that overlap in time (TOC).
        penalty: SCP: ``CLUSTER.CCE_LAMBDA`` (0.006) on Jaccard distances, ``TEST.CCE_LAMBDA`` (0.03) at test. TOC:
            ``OVERLAP_PENALTY``.
    """

    def __init__(self, relation: Relation, penalty: float) -> None:
        super().__init__(relation)
        self.penalty = penalty

    @property
    def never_lowers(self) -> bool:
        return self.penalty * self.relation.lowest >= 0 and self.penalty >= 0

    def change(self, dist: Tensor, value: Tensor) -> Tensor:
        return dist + self.penalty * value


class SpatioTemporalFactor(Modifier):
    """STS: ``d * (1 + strength * exp(-gamma * p))``, against pairs that nobody can walk.

    Args:
        relation: p, the plausibility of the pair; in [0, 1] for the published gamma.
        strength, gamma: ``CLUSTER.STR_LAMBDA`` and ``STR_GAMMA``.
    """

    def __init__(self, relation: Relation, strength: float = 0.6, gamma: float = 8.0) -> None:
        super().__init__(relation)
        self.strength = strength
        self.gamma = gamma

    @property
    def never_lowers(self) -> bool:
        return self.strength >= 0

    def change(self, dist: Tensor, value: Tensor) -> Tensor:
        return dist * (1.0 + self.strength * torch.exp(-self.gamma * value))


def modify_graph(graph: PairGraph, modifiers: Sequence[Modifier]) -> PairGraph:
    """The graph with changed distances, in the order of ``modifiers``.

    No pair is dropped, so pairs beyond the radius may remain; every pair within it is there, because distances only
    grow. A dense matrix of the graph has the changed distances everywhere.

    Raises:
        ValueError: a modifier that may lower a distance, or one of another number of samples.
    """
    dist = graph.dist
    for modifier in modifiers:
        if not modifier.never_lowers:
            raise ValueError(
                f"{type(modifier).__name__} may lower distances: pairs that the graph does not hold could come within "
                "its radius"
            )
        if modifier.relation.shape != (graph.n, graph.n):
            raise ValueError(f"a relation of shape {modifier.relation.shape} for {graph.n} samples")
        dist = modifier.change(dist, modifier.relation.at(graph.i, graph.j))
    return replace(graph, dist=dist, beyond=partial(_change_rows, modifiers)) if modifiers else graph


def _change_rows(modifiers: Sequence[Modifier], dist: Tensor, rows: slice) -> Tensor:
    for modifier in modifiers:
        dist = modifier.apply(dist, rows)
    return dist
