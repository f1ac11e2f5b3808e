"""Compares what must be the same on every process (``HOOKS: [RankCheck]``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unreid.engine.hooks.base import HOOKS, Hook
from unreid.utils.distributed import all_gather_objects


class RankMismatchError(RuntimeError):
    """Processes that must hold the same numbers do not: a defect, or a machine that computes differently."""


@HOOKS.register("RankCheck")
class RankCheckHook(Hook):
    """Compares hashes of weights, memory and the rest of the method's state over all processes after every epoch.

    Weights move by averaged gradients and the memory by gathered features, so they stay equal bit for bit without ever
    being sent; labels and the clusterer's state come from the main process. BN statistics are each process's own
    between two extractions and are left out. For debugging: everything is copied to the host once an epoch.

    Raises:
        RankMismatchError: some processes differ; the message names the part and the hashes by rank.
    """

    def after_epoch(self) -> None:
        own = {name: content_hash(part) for name, part in self._parts().items()}
        found = all_gather_objects(own)
        different = {name: [hashes[name] for hashes in found] for name in own}
        different = {name: hashes for name, hashes in different.items() if len(set(hashes)) > 1}
        if different:
            listed = "; ".join(f"{name} {', '.join(hashes)}" for name, hashes in different.items())
            raise RankMismatchError(
                f"the processes disagree after epoch {self.trainer.state.epoch} (hashes by rank): {listed}"
            )

    def _parts(self) -> dict[str, Any]:
        method = self.trainer.method
        parts = {name: part for name, part in method.state_dict().items() if name != "teacher"}
        parts["weights"] = list(self.trainer.model.parameters())
        if method.teacher is not None:
            parts["teacher's weights"] = list(method.teacher.parameters())
        return parts


def content_hash(value: Any) -> str:
    """16 hexadecimal digits of nested dictionaries, lists and tuples of tensors and plain values."""
    digest = hashlib.blake2b(digest_size=8)
    for leaf in _leaves(value):
        if isinstance(leaf, Tensor):
            digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(leaf).encode())
    return digest.hexdigest()


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _leaves(part)
    elif isinstance(value, (list, tuple)):
        yield len(value)
        for part in value:
            yield from _leaves(part)
    else:
        yield value
