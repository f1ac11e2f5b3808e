"""The answer comes with the next call, and is the same on every process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unreid.utils import agreement
from unreid.utils.agreement import Agreement


def test_alone_the_answer_is_immediate() -> None:
    agree = Agreement()
    assert [agree(False), agree(True), agree(False), agree.finish()] == [False, True, False, False]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Two processes of which the other one wants what is put here; the flag changes when it is waited for."""
    others: list[float] = []

    class Work:
        def __init__(self, flag: torch.Tensor) -> None:
            self.flag, self.own = flag, float(flag)

        def wait(self) -> None:
            self.flag.fill_(max(self.own, others.pop(0)))

    def all_reduce(flag: torch.Tensor, op: Any, group: Any, async_op: bool) -> Work:
        assert async_op and group == "host to host" and op == torch.distributed.ReduceOp.MAX
        return Work(flag)

    new_group: Callable[..., str] = lambda backend: "host to host" if backend == "gloo" else "?"  # noqa: E731
    monkeypatch.setattr(agreement, "get_world_size", lambda: 2)
    monkeypatch.setattr(agreement.dist, "new_group", new_group)
    monkeypatch.setattr(agreement.dist, "all_reduce", all_reduce)
    return others


def test_of_several_anybodys_wish_is_everybodys_answer_one_call_later(sent: list[float]) -> None:
    sent += [0.0, 1.0, 0.0, 0.0]
    agree = Agreement()
    assert agree(False) is False  # nothing was asked before
    assert agree(False) is False  # the first: nobody
    assert agree(False) is True  # the second: the other one
    assert agree(True) is False
    assert agree.finish() is True  # oneself
    assert agree.finish() is False and sent == []
