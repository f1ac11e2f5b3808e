"""Joint batches of domain adaptation: an unlabelled target beside a labelled source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from unreid.data.loader import TrainLoader
from unreid.structures import Batch
from unreid.utils.errors import UserError


class JointLoader(AbstractContextManager):
    """The target's batches, each with an equally large one of the source beside it (``Batch.source``).

    Args:
        target: decides how many steps an epoch has.
        source: has as many.

    Raises:
        UserError: one side has clips and the other images.
    """

    def __init__(self, target: TrainLoader, source: TrainLoader) -> None:
        if target.clip_len != source.clip_len:
            raise UserError(
                f"DATASETS.SOURCES gives {_kind(source)} and DATASETS.NAMES {_kind(target)}: joint batches are of one "
                "kind."
            )
        self.target = target
        self.source = source

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self.target)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The joint batches of one epoch from ``start_step`` on."""
        pairs = zip(self.target.epoch(epoch, start_step), self.source.epoch(epoch, start_step), strict=True)
        for target, source in pairs:
            yield replace(target, source=source)

    def close(self) -> None:
        """Ends the worker processes; the loader cannot be used afterwards."""
        self.target.close()
        self.source.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _kind(loader: TrainLoader) -> str:
    return "images" if loader.clip_len == 1 else f"clips of {loader.clip_len} frames"
