"""In which order the samples of a pass over the clusters are visited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import torch

from unreid.utils.arrays import ArrayLike, as_integers
from unreid.utils.errors import InputError
from unreid.utils.registry import Registry

SAMPLERS: Registry[type[Sampler]] = Registry("sampler")

DRAWS = ("3c", "cc")
SINGLETONS = ("skip", "repeat", "emit")


class Sampler(ABC):
    """Lists positions of the full training list, pass by pass.

    Args:
        labels: int64 (N,), pseudo labels over the full training list; -1 (outliers) is never listed.
        camids: int64 (N,), cameras, or None.
        num_instances: K, samples of a cluster that follow each other; 1 when there are no groups.
        draw: what happens when fewer candidates than wanted exist. "3c": all of them in random order, then the
            missing number again, without repetition if they suffice. "cc": drawn with replacement altogether, already
            when the candidates are just as many as wanted (Cluster Contrast).
        singleton: clusters of one sample are left out ("skip"), fill their group ("repeat") or give one index
            ("emit"), which shifts all later groups, as published.

    Raises:
        InputError: labels or cameras that are no integers (N,), or no labelled sample that a pass could list.
        ValueError: an unknown option, or K < 1.

    Attributes:
        num_clusters: clusters that a pass lists.
        pass_length: indices of one pass; the same for every pass.
    """

    num_clusters: int
    pass_length: int

    def __init__(
        self,
        labels: ArrayLike,
        camids: ArrayLike | None = None,
        num_instances: int = 1,
        *,
        draw: str = "3c",
        singleton: str = "skip",
    ) -> None:
        if draw not in DRAWS:
            raise ValueError(f"unknown draw {draw!r}; known: {', '.join(DRAWS)}")
        if singleton not in SINGLETONS:
            raise ValueError(f"unknown singleton rule {singleton!r}; known: {', '.join(SINGLETONS)}")
        if num_instances < 1:
            raise ValueError(f"a group has at least one sample, not {num_instances}")
        self.labels = as_integers(labels, "labels").numpy(force=True)
        self.camids = np.zeros_like(self.labels)
        if camids is not None:
            self.camids = as_integers(camids, "camids", len(self.labels)).numpy(force=True)
        self.num_instances = num_instances
        self.draw = draw
        self.singleton = singleton

    @classmethod
    def from_config(cls, cfg: Any, labels: np.ndarray, camids: np.ndarray | None) -> Self:
        """The sampler that ``DATALOADER`` describes."""
        loader = cfg.DATALOADER
        return cls(labels, camids, loader.NUM_INSTANCE, draw=loader.SAMPLER.DRAW, singleton=loader.SAMPLER.SINGLETON)

    @abstractmethod
    def one_pass(self, generator: np.random.Generator) -> np.ndarray:
        """int64 (pass_length,): positions in the full training list."""


class GroupSampler(Sampler):
    """Every cluster once a pass, in random order, as a group of K consecutive indices.

    All clusters are drawn at once: the labelled samples are sorted by (cluster, in the pool or not, random key), so
    that a cluster's pool of candidates is a run of this order and drawing without replacement is reading its begin.
    """

    anchored = True  # a group begins with an anchor, which is not drawn again

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        members = np.flatnonzero(self.labels >= 0)
        _, cluster, size = np.unique(self.labels[members], return_inverse=True, return_counts=True)
        if self.singleton == "skip":
            members = members[size[cluster] > 1]
            _, cluster, size = np.unique(self.labels[members], return_inverse=True, return_counts=True)
        if not len(size):
            raise InputError(
                "There is no cluster to sample from: every sample is an outlier or alone in its cluster; "
                "DATALOADER.SAMPLER.SINGLETON repeat takes those too."
            )
        order = np.argsort(cluster, kind="stable")
        self._members, self._cluster, self._size = members[order], cluster[order], size
        self._start = np.cumsum(size) - size
        self.num_clusters = len(size)
        alone = int((size == 1).sum()) if self.singleton == "emit" else 0
        self.pass_length = (self.num_clusters - alone) * self.num_instances + alone

    def one_pass(self, generator: np.random.Generator) -> np.ndarray:
        groups = self._draw_groups(generator)
        clusters = generator.permutation(self.num_clusters)
        used = np.ones_like(groups, dtype=bool)
        if self.singleton == "emit":
            used[:, 1:] = (self._size > 1)[:, None]
        return self._members[groups[clusters][used[clusters]]]

    def _draw_groups(self, generator: np.random.Generator) -> np.ndarray:
        """int64 (C, K): positions among the members, one row per cluster."""
        if not self.anchored:
            pool = np.ones(len(self._members), dtype=bool)
            return self._draw_from(pool, self._size, self.num_instances, generator)
        anchor = self._start + generator.integers(self._size)
        pool, size = self._pools(anchor)
        others = self._draw_from(pool, size, self.num_instances - 1, generator)
        return np.concatenate([anchor[:, None], others], axis=1)

    def _pools(self, anchor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Who may follow the anchors (bool per member) and how many those are (per cluster).

        Samples of other cameras than the anchor's where there are any, otherwise all other samples; the anchor itself
        where it is alone.
        """
        camids = self.camids[self._members]
        elsewhere = camids != camids[anchor][self._cluster]
        found = np.bincount(self._cluster[elsewhere], minlength=self.num_clusters)
        pool = np.where((found > 0)[self._cluster], elsewhere, True)
        pool[anchor] = self._size == 1
        return pool, np.bincount(self._cluster[pool], minlength=self.num_clusters)

    def _draw_from(self, pool: np.ndarray, size: np.ndarray, wanted: int, generator: np.random.Generator) -> np.ndarray:
        """int64 (C, wanted): draws from each cluster's pool by the rule ``draw``."""
        slots = np.arange(wanted)
        first = self._shuffled(pool, generator)
        second = self._shuffled(pool, generator)
        anywhere = (generator.random((self.num_clusters, wanted)) * size[:, None]).astype(np.int64)
        size = size[:, None]
        if self.draw == "cc":
            # The published threshold is K, not the K - 1 that are wanted after an anchor.
            enough = size >= self.num_instances
            return first[self._start[:, None] + np.where(enough, np.minimum(slots, size - 1), anywhere)]
        again = slots - size
        refill = np.where(wanted - size <= size, np.clip(again, 0, size - 1), anywhere)
        once = first[self._start[:, None] + np.minimum(slots, size - 1)]
        return np.where(again < 0, once, second[self._start[:, None] + refill])

    def _shuffled(self, pool: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Positions of all members, cluster after cluster, each cluster's pool first and in random order."""
        return np.lexsort((generator.random(len(pool)), ~pool, self._cluster))


@SAMPLERS.register("multi_camera", "RandomMultipleGallery")
class MultiCameraSampler(GroupSampler):
    """A random anchor, then K - 1 samples of its cluster from other cameras if it has any (Cluster Contrast, 3C)."""


@SAMPLERS.register("no_camera")
class NoCameraSampler(GroupSampler):
    """A random anchor, then K - 1 other samples of its cluster, whatever their cameras (3C's ``NO_CAM``)."""

    def __init__(self, labels: Any, camids: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(labels, None, *args, **kwargs)


@SAMPLERS.register("identity")
class IdentitySampler(GroupSampler):
    """K samples of each cluster without an anchor and without regard to cameras (plain PK)."""

    anchored = False


@SAMPLERS.register("proxy")
class ProxySampler(GroupSampler):
    """K samples of each *camera proxy*, the samples of one cluster in one camera (CAP, O2CAP), without an anchor."""

    anchored = False

    def __init__(
        self,
        labels: ArrayLike,
        camids: ArrayLike | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        clusters = as_integers(labels, "labels")
        cameras = torch.zeros_like(clusters) if camids is None else as_integers(camids, "camids", len(clusters))
        proxies = clusters * (int(cameras.max()) + 1 if len(cameras) else 1) + cameras
        super().__init__(torch.where(clusters < 0, -1, proxies), cameras, *args, **kwargs)


@SAMPLERS.register("shuffle")
class ShuffleSampler(Sampler):
    """All labelled samples once, in random order (BUC, instance discrimination)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._members = np.flatnonzero(self.labels >= 0)
        if not len(self._members):
            raise InputError("There is no sample to train on: every sample is an outlier.")
        self.num_instances = 1
        self.num_clusters = len(np.unique(self.labels[self._members]))
        self.pass_length = len(self._members)

    def one_pass(self, generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(self._members)
