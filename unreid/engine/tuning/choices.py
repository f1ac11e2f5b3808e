"""What ``unreid tune`` chooses among, and the config keys that a choice stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from unreid.engine.tuning.options import Values
from unreid.neighbors.builder import CAMERA_JACCARD, JACCARD, PairGraphBuilder

INSTANCES = (16, 8, 4)
"""Images of a cluster in a batch, the most first."""


@dataclass(frozen=True)
class Space:
    """The distances of one pair graph.

    Attributes:
        centered: features less their camera's mean.
        metric: "jaccard" (Cluster Contrast's) or "ca_jaccard".
        k1: of the reciprocal neighbourhood; with "ca_jaccard" among the other cameras.
        k2: of the query expansion; with "ca_jaccard" of either side, from the second round on.
    """

    centered: bool
    metric: str
    k1: int
    k2: int

    def builder(self, template: PairGraphBuilder) -> PairGraphBuilder:
        """The builder of the graph; tolerance, search and back-end are those of ``template``."""
        if self.metric == JACCARD:
            return replace(template, metric=JACCARD, k1=self.k1, k2=self.k2)
        sizes = replace(template.cameras, k1_inter=self.k1, k2_intra=self.k2, k2_inter=self.k2)
        return replace(template, metric=CAMERA_JACCARD, cameras=sizes)

    def overrides(self) -> dict[str, bool | int | str]:
        """Config key -> value."""
        keys: dict[str, bool | int | str] = {
            "CLUSTER.CAMERA_CENTERED": self.centered,
            "CLUSTER.METRIC": self.metric,
        }
        if self.metric == JACCARD:
            return keys | {"CLUSTER.K1": self.k1, "CLUSTER.K2": self.k2}
        return keys | {"CLUSTER.CA.K1_INTER": self.k1, "CLUSTER.CA.K2_INTRA": self.k2, "CLUSTER.CA.K2_INTER": self.k2}

    def __str__(self) -> str:
        return f"{'centred, ' if self.centered else ''}{self.metric} k1 {self.k1} k2 {self.k2}"


def spaces(values: Values, cameras: bool) -> list[Space]:
    """The graphs of a sweep; without cameras those that need none. Pairs with k2 above k1 are left out."""
    plain = [(JACCARD, k1, k2) for k1, k2 in product(values.k1, values.k2) if k2 <= k1]
    aware = [(CAMERA_JACCARD, k1, k2) for k1, k2 in product(values.ca_k1, values.ca_k2)]
    if not cameras:
        return [Space(False, *sizes) for sizes in plain]
    return [Space(centered, *sizes) for centered in (False, True) for sizes in (*plain, *aware)]


def num_instances(sizes: Sequence[int], batch: int) -> int:
    """Images of a cluster in a batch: as many as half of the clusters have, of 16, 8 or 4.

    Fewer repeat no image; more would fill the batch with copies of the images of small clusters. A batch must hold
    whole groups, and no more of them than there are clusters.

    Args:
        sizes: members of every cluster.
        batch: images of a step.
    """
    ordered = sorted(sizes)
    typical = ordered[len(ordered) // 2] if ordered else 0
    fitting = [count for count in INSTANCES if batch % count == 0]
    for count in fitting:
        if count <= typical:
            return count
    return fitting[-1] if fitting else 1
