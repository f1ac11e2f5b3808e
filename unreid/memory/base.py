"""What every cluster memory promises, and the registry that configs name them by."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreid.structures import Clustering
from unreid.utils.arrays import ArrayLike, as_integers, as_rows, as_vector
from unreid.utils.errors import InputError, UserError
from unreid.utils.registry import Registry
from unreid.utils.seed import generator_for
from unreid.utils.state import StateError, entries, require_tensor

MEMORIES: Registry[type[Memory]] = Registry("memory")


@runtime_checkable
class HoldsInstances(Protocol):
    """A memory with a row for every training sample, which a method may cluster instead of features (SpCL)."""

    @property
    def instances(self) -> Tensor:
        """(N, D), the rows of the samples, in the order of the training list."""


class Memory(nn.Module):
    """A bank of class rows, the loss against it, and the explicit update that alone changes it.

    The bank is rebuilt by :meth:`reset` after every clustering; its number of rows changes then. ``forward`` is a pure
    function of its inputs and the bank: gradient flows to the inputs only. ``update`` is called once per optimiser step
    with the features (of the student, or of a teacher) of the *global* batch, gathered in rank order, so that every
    process writes the same rows. Call it after ``backward``: autograd refuses a bank that changed in between.

    Attributes:
        needs: extra batch fields that ``forward`` and ``update`` take as keyword arguments: any of "camids",
            "indices", "reliable". They may be passed always; a memory ignores those it does not need.
        by_camera: whether an update groups the samples of a class by camera, so that ``num_instances`` bounds those.
        normalize_inputs: whether inputs and features are L2-normalised here.
        bank: float32 (R, D), the stored rows.
    """

    needs: tuple[str, ...] = ()
    by_camera = False
    bank: Tensor

    def __init__(
        self, dim: int, *, normalize_inputs: bool = True, seed: int = 0, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.dim = dim
        self.normalize_inputs = normalize_inputs
        self.seed = seed
        self.resets = 0
        self.updates = 0
        self.register_buffer("bank", torch.zeros(0, dim, device=device))

    @classmethod
    def from_config(cls, cfg: Any, dim: int, device: torch.device | str | None = None) -> Memory:
        """The memory that ``cfg.MEMORY`` describes, for features of width ``dim``."""
        raise NotImplementedError

    @classmethod
    def refuse(cls, cfg: Any, *keys: str) -> None:
        """Raises :class:`UserError` if one of these keys of ``MEMORY``, which this memory does not have, is set."""
        for key in keys:
            if cfg.MEMORY[key]:
                raise UserError(f"MEMORY.{key} does not work with {cls.__name__}: set it to {type(cfg.MEMORY[key])()}.")

    @property
    def num_clusters(self) -> int:
        """C, the number of classes; 0 before the first :meth:`reset`."""
        raise NotImplementedError

    @property
    def rows(self) -> Tensor:
        """(C, D), one row a class: what neighbour searches among clusters (ISE) look at. No gradient."""
        raise NotImplementedError

    def scores(self, features: Tensor) -> Tensor | None:
        """Products (B, C) of features (B, D), as they are, with ``rows``, where the loss is made of these alone.

        Who needs them too (ISE) computes them once: :meth:`forward` takes them, divided by the norms of the features.
        None: this memory's loss looks at something else.
        """
        return None

    def reset(
        self, features: ArrayLike, clustering: Clustering | ArrayLike, *, camids: ArrayLike | None = None
    ) -> None:
        """Rebuilds the bank for a new clustering.

        Args:
            features: (N, D), features of the whole training list.
            clustering: of the same list, or its labels, integers (N,), -1 for outliers.
            camids: int (N,), its cameras; memories of camera proxies need them.

        Raises:
            ValueError: the shapes do not fit, or there is no cluster.
        """
        features = as_rows(features, width=self.dim)
        if not isinstance(clustering, Clustering):
            clustering = Clustering.from_labels(as_integers(clustering, "labels"))
        if len(features) != len(clustering.labels):
            raise InputError(
                f"There must be a label for each row: {len(features)} features but {len(clustering.labels)} labels."
            )
        if clustering.num_clusters < 1:
            raise ValueError("a memory cannot be built from a clustering without clusters")
        camids = None if camids is None else as_integers(camids, "camids", len(features))
        with torch.no_grad():
            self._rebuild(self._prepare(features.detach().to(self.bank.device)), clustering, camids)
        self.resets += 1

    def forward(
        self,
        inputs: ArrayLike,
        targets: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        scores: Tensor | None = None,
        **fields: Any,
    ) -> Tensor:
        """Mean loss of a batch against the bank as it is; no side effect.

        Args:
            inputs: (B, D), any float type; the loss is computed in float32 also under autocast.
            targets: int64 (B,) in [0, C).
            weights: (B,) factors of the samples' losses (3C's camera entropy); the mean is still over B.
            scores: (B, C), cosines of inputs and ``rows`` where they are known: those of :meth:`scores`, per norm.
            fields: the fields of ``needs``, (B,) each.

        Returns:
            Scalar float32.
        """
        inputs, targets = self._checked(inputs, targets)
        if weights is not None:
            weights = as_vector(weights, "weights", len(targets)).to(inputs.device)
        fields = self._checked_fields(fields, targets)
        with torch.autocast(inputs.device.type, enabled=False):
            if scores is not None:
                return self._loss_of_scores(scores, targets, weights)
            return self._loss(self._prepare(inputs), targets, weights, **fields)

    def update(
        self, features: ArrayLike, targets: ArrayLike, *, num_instances: int | None = None, **fields: Any
    ) -> None:
        """Writes a batch into the bank, in place and without gradient.

        Args:
            features: (B, D).
            targets: int64 (B,) in [0, C).
            num_instances: upper bound of the samples of one class in this batch, where the caller knows one: with it a
                GPU is not waited for (see :func:`~unreid.memory.grouping.group_by_class`).
            fields: the fields of ``needs``, (B,) each.
        """
        features, targets = self._checked(features, targets)
        fields = self._checked_fields(fields, targets)
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            self._write(self._prepare(features.detach()), targets, num_instances, **fields)
        self.updates += 1

    def check_targets(self, targets: Tensor) -> None:
        """Looks whether a restored bank has a row for every label; ``targets`` int64 (N,) over the training list.

        Raises:
            StateError: it does not.
        """
        needed = int(targets.max()) + 1 if len(targets) else 0
        if self.num_clusters < needed:
            raise StateError(f"the memory has {self.num_clusters} classes and the plan {needed}")

    def _rebuild(self, features: Tensor, clustering: Clustering, camids: Tensor | None) -> None:
        self._fill(features, clustering)

    def _fill(self, features: Tensor, clustering: Clustering) -> None:
        raise NotImplementedError

    def _loss(self, inputs: Tensor, targets: Tensor, weights: Tensor | None, **fields: Any) -> Tensor:
        raise NotImplementedError

    def _loss_of_scores(self, scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _write(self, features: Tensor, targets: Tensor, num_instances: int | None, **fields: Any) -> None:
        raise NotImplementedError

    def _prepare(self, features: Tensor) -> Tensor:
        features = features.to(torch.float64 if self.bank.dtype == torch.float64 else torch.float32)
        return F.normalize(features, dim=1) if self.normalize_inputs else features

    def _generator(self) -> torch.Generator:
        """CPU generator of what is drawn now: a function of the seed and of how often the bank was changed."""
        return generator_for(self.seed, self.resets, self.updates)

    def _checked(self, inputs: ArrayLike, targets: ArrayLike) -> tuple[Tensor, Tensor]:
        if not self.num_clusters:
            raise ValueError("the memory is empty: call reset() with a clustering first")
        inputs = as_rows(inputs, "inputs", self.dim)
        given = targets
        targets = as_integers(targets, "targets", len(inputs)).to(inputs.device)
        # Values of a tensor are not looked at: a GPU would be waited for in every step.
        if not isinstance(given, Tensor) and not bool(((targets >= 0) & (targets < self.num_clusters)).all()):
            raise InputError(f"targets must be clusters from 0 to {self.num_clusters - 1}, and some are not.")
        return inputs, targets

    def _checked_fields(self, fields: dict[str, Any], targets: Tensor) -> dict[str, Any]:
        """``camids`` and ``indices`` of users as tensors."""
        whole = {name: fields[name] for name in ("camids", "indices") if fields.get(name) is not None}
        return {
            **fields,
            **{name: as_integers(value, name, len(targets)).to(targets.device) for name, value in whole.items()},
        }

    def get_extra_state(self) -> dict[str, int]:
        """Counters that seed the memory's own draws, so that a resumed run draws what an uninterrupted one does."""
        return {"resets": self.resets, "updates": self.updates}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Restores :meth:`get_extra_state`."""
        entries(state, "the counters of the memory", {"resets": int, "updates": int})
        self.resets, self.updates = state["resets"], state["updates"]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Buffers change their size every round: take the size of the checkpoint, keep device and type.
        for name, buffer in self._buffers.items():
            stored = state_dict.get(prefix + name)
            if buffer is None or stored is None:
                continue
            require_tensor(stored, f"{name!r} of the memory", buffer.dtype, (None, *buffer.shape[1:]))
            if stored.shape != buffer.shape:
                setattr(
                    self, name, torch.empty_like(buffer, memory_format=torch.contiguous_format).resize_(stored.shape)
                )
        super()._load_from_state_dict(state_dict, prefix, *args)


def build_memory(cfg: Any, dim: int, device: torch.device | str | None = None) -> Memory:
    """The memory named by ``cfg.MEMORY.NAME`` for features of width ``dim``; raises ``UserError`` for unknown names."""
    return MEMORIES.get(cfg.MEMORY.NAME).from_config(cfg, dim, device)
