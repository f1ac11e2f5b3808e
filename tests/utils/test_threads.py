"""Work in threads of its own."""

from __future__ import annotations

import threading

import pytest
import torch

from unreid.utils.threads import in_threads

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(autouse=True)
def restored(threads: int):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    yield
    torch.set_num_threads(before)


def test_every_part_is_worked_on_once_without_gradients_and_torch_keeps_its_threads(threads: int) -> None:
    out, weight = torch.zeros(50), torch.ones(1, requires_grad=True)
    inside: set[int] = set()
    names: set[str] = set()

    def work(part: int) -> None:
        inside.add(torch.get_num_threads())
        names.add(threading.current_thread().name)
        out[part] += (weight * part)[0]

    in_threads(work, range(50), CPU)
    assert out.tolist() == list(range(50)) and not out.requires_grad
    assert inside == {1}
    assert len(names) <= threads
    assert torch.get_num_threads() == threads


def test_the_first_error_ends_it(threads: int) -> None:
    done: list[int] = []

    def work(part: int) -> None:
        if part == 3:
            raise ValueError("part 3")
        done.append(part)

    with pytest.raises(ValueError, match="part 3"):
        in_threads(work, range(10_000), CPU)
    assert len(done) < 10_000
    assert torch.get_num_threads() == threads
