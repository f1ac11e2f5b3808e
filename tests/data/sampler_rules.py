"""What a pass of an identity sampler must satisfy, checked group by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


def check_pass(
    sequence: Sequence[int] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    camids: Sequence[int] | np.ndarray | None,
    num_instances: int,
    *,
    draw: str,
    singleton: str,
    anchored: bool = True,
) -> None:
    """Asserts every rule; ``camids`` None: cameras do not matter."""
    sequence, labels = list(map(int, sequence)), list(map(int, labels))
    size = Counter(label for label in labels if label >= 0)
    expected = {label for label, count in size.items() if count > 1 or singleton != "skip"}
    seen = []
    position = 0
    while position < len(sequence):
        label = labels[sequence[position]]
        length = 1 if size[label] == 1 and singleton == "emit" else num_instances
        group = sequence[position : position + length]
        assert len(group) == length, "the last group is incomplete"
        assert {labels[index] for index in group} == {label}, "a group mixes clusters"
        seen.append(label)
        if length > 1:
            members = [index for index, other in enumerate(labels) if other == label]
            _check_group(group, members, camids, num_instances, draw, anchored)
        position += length
    assert len(seen) == len(set(seen)), "a cluster occurs twice in a pass"
    assert set(seen) == expected, "a pass lists other clusters than it should"


def _check_group(
    group: list[int], members: list[int], camids: Sequence[int] | np.ndarray | None, k: int, draw: str, anchored: bool
) -> None:
    pool, drawn = members, group
    if anchored and len(members) > 1:
        anchor, drawn = group[0], group[1:]
        pool = [index for index in members if index != anchor]
        elsewhere = [index for index in pool if camids is not None and camids[index] != camids[anchor]]
        pool = elsewhere or pool
    count = Counter(drawn)
    assert set(count) <= set(pool), "a sample was drawn from outside the pool"
    if len(pool) >= (k if draw == "cc" else len(drawn)):
        assert max(count.values(), default=1) == 1, "a sample repeats although there are enough"
    elif draw == "3c":
        assert set(drawn[: len(pool)]) == set(pool), "not every candidate was used before repeating"
        if len(drawn) - len(pool) <= len(pool):
            assert max(count.values()) <= 2, "a candidate was used three times although two would do"
