"""Two implementations of one network whose names differ: tensors are told apart by kind, shape and order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor

_LEAVES = ("weight", "bias", "running_mean", "running_var")


def in_order(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """``state`` under the names of ``target``: the k-th tensor of a kind and shape becomes the k-th there.

    What layers share is their order, from the image to the feature; weight and bias of one are told apart by name, and
    sides of 1 do not count (a pointwise convolution is a linear layer). A classifier is left out.

    Returns:
        None unless every tensor of ``target`` has its counterpart and nothing but a classifier remains.
    """
    theirs, ours = _sorted(state), _sorted(target)
    found: dict[str, Tensor] = {}
    spare = 0
    for kind, names in ours.items():
        others = theirs.pop(kind, [])
        if len(others) < len(names):
            return None
        spare += len(others) - len(names)
        found |= {name: state[other].reshape(target[name].shape) for name, other in zip(names, others)}
    spare += sum(len(names) for names in theirs.values())
    return found if spare <= 2 else None


def _sorted(state: Mapping[str, Tensor]) -> dict[tuple[str, tuple[int, ...]], list[str]]:
    kinds: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for name, tensor in state.items():
        if tensor.is_floating_point():
            leaf = next((leaf for leaf in _LEAVES if name.endswith(leaf)), "")
            kinds[leaf, tuple(side for side in tensor.shape if side != 1)].append(name)
    return dict(kinds)
