"""Several gloo processes against one process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from unreid.utils import distributed, job
from unreid.utils.errors import UserError

WORLD = 2


def _enter(rank: int, port: int, work: Callable[[int, str], None], folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD)
    )
    assert job.init_from_env("cpu") == torch.device("cpu")
    try:
        work(rank, folder)
    finally:
        job.shutdown()


def run_processes(work: Callable[[int, str], None], folder: Path) -> list[Any]:
    """Run ``work(rank, folder)`` in WORLD processes; each may save ``<rank>.pt``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_enter, args=(port, work, str(folder)), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


def _data() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(3)
    return nn.Linear(5, 4).double(), torch.randn(4 * WORLD, 5, dtype=torch.float64)


def _loss(features: torch.Tensor) -> torch.Tensor:
    """Couples all rows, like a triplet loss or a batch-hard update."""
    return torch.logsumexp(torch.cdist(features, features + 1), 1).mean()


def _work(rank: int, folder: str) -> None:
    model, data = _data()
    gathered = distributed.all_gather_with_grad(model(data[4 * rank : 4 * rank + 4]))
    _loss(gathered).backward()
    for parameter in model.parameters():  # what DistributedDataParallel does, which takes seconds to import
        dist.all_reduce(parameter.grad)
        parameter.grad /= WORLD
    ragged = distributed.all_gather_rows(torch.full((1 + 2 * rank, 3), rank))
    mask = distributed.all_gather_rows(torch.tensor([rank == 1]))
    told = distributed.broadcast_object({"from": rank})
    distributed.barrier()
    torch.save(
        {
            "grad": [p.grad for p in model.parameters()],
            "gathered": gathered.detach(),
            "ragged": ragged,
            "mask": mask,
            "told": told,
            "who": (distributed.get_rank(), distributed.get_world_size(), distributed.is_main()),
        },
        Path(folder) / f"{rank}.pt",
    )


def test_processes_agree_with_one_process(tmp_path: Path) -> None:
    results = run_processes(_work, tmp_path)
    model, data = _data()
    features = model(data)
    _loss(features).backward()
    for rank, result in enumerate(results):
        torch.testing.assert_close(result["gathered"], features.detach())
        for got, expected in zip(result["grad"], [p.grad for p in model.parameters()]):
            torch.testing.assert_close(got, expected)
        assert result["ragged"].tolist() == [[0] * 3] + [[1] * 3] * 3
        assert result["mask"].tolist() == [False, True]
        assert result["told"] == {"from": 0}
        assert result["who"] == (rank, WORLD, rank == 0)


def test_one_process_is_the_identity() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert distributed.all_gather_with_grad(rows) is rows
    assert torch.equal(distributed.all_gather_rows(rows), rows)
    assert not distributed.all_gather_rows(rows).requires_grad
    marker = object()
    assert distributed.broadcast_object(marker) is marker
    distributed.barrier()
    job.shutdown()
    assert (distributed.get_rank(), distributed.get_world_size(), distributed.is_main()) == (0, 1, True)


def test_device_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert job.init_from_env("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="finds no CUDA device"):
        job.init_from_env("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"cuda:2 .*there are 2"):
        job.init_from_env("cuda:2")


@pytest.mark.parametrize("named", ["gpu", "0", "cuda:x", ""])
def test_a_device_that_there_is_not_is_one_sentence(named: str) -> None:
    with pytest.raises(UserError, match=f"There is no device '{named}': it is auto, cpu, cuda or cuda:N"):
        job.init_from_env(named)
