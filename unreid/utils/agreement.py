"""A decision that all processes take at the same step, without a step that waits for it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from unreid.utils.distributed import get_world_size


class Agreement:
    """Whether any process wants something, with the same answer on every process at the same call.

    The question is sent in the background, from host to host, so that neither the step nor a GPU waits; the answer
    comes with the next call. In a single process it is immediate.

    Example:
        >>> agreement = Agreement()
        >>> agreement(False), agreement(True)
        (False, True)
    """

    def __init__(self) -> None:
        # A group of its own: the background messages must not mix with those of a training step.
        self._group: Any = dist.new_group(backend="gloo") if get_world_size() > 1 else None
        self._flag = torch.zeros(1)
        self._work: Any = None

    def __call__(self, wanted: bool) -> bool:
        """To be called by all processes, equally often; True once any of them said so in the call before."""
        if self._group is None:
            return wanted
        answer = self.finish()
        self._flag.fill_(float(wanted))
        self._work = dist.all_reduce(self._flag, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        return answer

    def finish(self) -> bool:
        """Waits for the answer that is still on its way, if any, and returns it."""
        if self._work is None:
            return False
        self._work.wait()
        self._work = None
        return bool(self._flag.item())
