"""Pseudo labels of a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unreid.utils.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Clustering:
    """Pseudo labels of one round.

    Attributes:
        labels: int64 (N,) on CPU; -1 outlier, clusters 0..num_clusters-1 without holes.
        num_clusters: C.
        centroids: float32 (C, D) or None; None means "take the normalised means of the members".
        core: bool (N,) or None; None means that every member counts as core.
        extras: figures of one clusterer, for who looks at them (thresholds, released samples ...); no part reads them.
        features: float32 (N, D), the features that were clustered; the memory is filled from them.
        part_features: float32 (N, P, C) or None, unit features of parts of the samples (PPLR).
        reliable: bool (N,) or None, the samples that a memory may trust (CDSM).
        eps: the radius in use, or None for clusterers without one.
    """

    labels: Tensor
    num_clusters: int
    centroids: Tensor | None = None
    core: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    features: Tensor | None = None
    part_features: Tensor | None = None
    reliable: Tensor | None = None
    eps: float | None = None

    @classmethod
    def from_labels(cls, labels: Tensor | np.ndarray | Sequence[int], **kwargs: Any) -> Clustering:
        """Renumbers ``labels`` to 0..C-1 in ascending order, keeps -1 (outliers), and counts.

        Args:
            labels: (N,) whole numbers from -1 on: a tensor, an array or a list.

        Raises:
            InputError: anything else, such as a mask, fractions, or a negative label other than -1.
        """
        import torch

        labels = _whole_numbers(labels)
        found, compact = torch.unique(labels, return_inverse=True)
        if len(found) and found[0] < 0:
            compact = compact - 1
            return cls(compact, len(found) - 1, **kwargs)
        return cls(compact, len(found), **kwargs)

    def without(self, samples: Tensor) -> Clustering:
        """The same with some samples turned into outliers.

        Clusters that lose all members disappear; centroids then no longer fit and are dropped with them.

        Args:
            samples: bool (N,), or int64 positions.
        """
        labels = self.labels.clone()
        labels[samples] = -1
        if labels.equal(self.labels):
            return self
        kept = Clustering.from_labels(labels)
        same = kept.num_clusters == self.num_clusters
        return replace(
            self,
            labels=kept.labels,
            num_clusters=kept.num_clusters,
            centroids=self.centroids if same else None,
        )

    def cpu(self) -> Clustering:
        """The same without features, all tensors on CPU: what one process tells the others."""
        from torch import Tensor

        def moved(value: Any) -> Any:
            return value.cpu() if isinstance(value, Tensor) else value

        return replace(
            self,
            features=None,
            part_features=None,
            **{name: moved(getattr(self, name)) for name in ("labels", "centroids", "core", "reliable")},
            extras={name: moved(value) for name, value in self.extras.items()},
        )

    @property
    def num_outliers(self) -> int:
        return int((self.labels < 0).sum())


def _whole_numbers(labels: Tensor | np.ndarray | Sequence[int]) -> Tensor:
    """int64 (N,) on the CPU of labels from -1 on; ``InputError`` with one sentence for everything else."""
    import torch

    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu()
        labels = (labels.double() if labels.is_floating_point() else labels).numpy()  # NumPy has no bfloat16
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise InputError(f"Labels are a row of whole numbers (N,), not {array.dtype} of shape {array.shape}.")
    exact = 2**53 if array.dtype.kind == "f" else 2**63 - 1  # the largest numbers that survive the conversion
    good = (array >= -1) & (array <= exact) & (array == np.trunc(array))
    if not good.all():
        raise InputError(f"A label is -1 (outlier) or a cluster's number from 0 on, not {array[~good][0]}.")
    return torch.from_numpy(array.astype(np.int64))
