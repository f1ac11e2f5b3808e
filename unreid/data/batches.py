"""Cuts the passes of a sampler into the batches of an epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from unreid.data.samplers import Sampler
from unreid.data.streams import Stream, stream_generator

logger = logging.getLogger(__name__)


class EpochBatches:
    """An endless chain of passes, cut into batches of B; what is left of a pass is dropped.

    Every pass has its own generator and all passes are equally long, so the batch of any (epoch, step) is found
    without drawing the ones before it, and a resumed run sees what the uninterrupted one saw. Where one pass is
    shorter than a batch, as many passes as a batch needs are joined: clusters then repeat within a batch, and one
    warning says so.

    Args:
        batch_size: B, over all processes.
        iters: steps of an epoch; 0: the batches of one (joined) pass.

    Raises:
        ValueError: B < 1.
    """

    def __init__(self, sampler: Sampler, batch_size: int, iters: int = 0, seed: int = 0) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch has at least one sample, not {batch_size}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.seed = seed
        self._joined = -(-batch_size // sampler.pass_length)
        self._steps_per_chain = self._joined * sampler.pass_length // batch_size
        self.iters = iters or self._steps_per_chain
        self._chain: tuple[tuple[int, int], np.ndarray] | None = None
        if self._joined > 1:
            logger.warning(
                "%d clusters x %d instances are fewer than a batch of %d: clusters repeat within a batch.",
                *(sampler.num_clusters, sampler.num_instances, batch_size),
            )

    def __len__(self) -> int:
        return self.iters

    def batch(self, epoch: int, step: int) -> np.ndarray:
        """int64 (B,): positions in the full training list, groups of a cluster adjacent."""
        chain, position = divmod(step, self._steps_per_chain)
        if self._chain is None or self._chain[0] != (epoch, chain):
            self._chain = (epoch, chain), self._draw_chain(epoch, chain)
        return self._chain[1][position * self.batch_size : (position + 1) * self.batch_size]

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """(step, indices) of the steps from ``start_step`` to the end of the epoch."""
        for step in range(start_step, self.iters):
            yield step, self.batch(epoch, step)

    def _draw_chain(self, epoch: int, chain: int) -> np.ndarray:
        passes = range(chain * self._joined, (chain + 1) * self._joined)
        return np.concatenate(
            [self.sampler.one_pass(stream_generator(Stream.ORDER, self.seed, epoch, number)) for number in passes]
        )
