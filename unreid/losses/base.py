"""Losses that a config names: what they look at, what they promise, and their registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from unreid.utils.registry import Registry

LOSSES: Registry[type[Loss]] = Registry("loss")


@dataclass(frozen=True)
class LossInputs:
    """A global batch as a loss sees it.

    Attributes:
        features: float (B, D), with gradient; a cluster-memory method gives its unit rows, AuxUSL the pooled feature.
        targets: int64 (B,), pseudo labels.
        logits: float (B, C) of the round's clusters, or None where the method has no classifier.
        camids: int64 (B,), or None where the method does not pass them on.
    """

    features: Tensor
    targets: Tensor
    logits: Tensor | None = None
    camids: Tensor | None = None


class Loss:
    """Base of all losses; only ``__call__`` has to be written.

    Attributes:
        reads_logits: it needs a classifier, as AuxUSL has one.
    """

    reads_logits = False

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        return cls()

    def begin_round(self, centres: Tensor) -> None:
        """The clusters of a new round: float (C, D), their centres as clustered. AuxUSL calls it."""

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Scalar, at least float32."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs of a round that is under way."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""


def weighted_losses(cfg: Any, words: Sequence[str]) -> dict[str, tuple[float, Loss]]:
    """The losses that ``METHOD.LOSSES`` asks for, each ``NAME`` or ``NAME=WEIGHT``: name -> (weight, loss).

    Raises:
        UserError: there is no loss of a name.
    """
    found = {}
    for word in words:
        name, _, weight = word.partition("=")
        found[name] = (float(weight or 1.0), LOSSES.get(name).from_config(cfg))
    return found
