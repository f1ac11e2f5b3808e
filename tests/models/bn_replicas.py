"""A network with every kind of BN and one process of its data-parallel training; a module of its own starts faster."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unreid.models.batch_norm import chunk_batch_norm, chunks_per_process
from unreid.models.ibn import IBN


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        IBN(6),
        nn.Flatten(),
        nn.Linear(6 * 6 * 4, 5),
        nn.BatchNorm1d(5),
    )


def loss_of(features: Tensor) -> Tensor:
    return (features * torch.arange(features.numel()).view_as(features).sin()).sum()


def replica(rank: int, port: int, folder: str, world: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    net = chunk_batch_norm(network(), chunks_per_process(4)).train()
    images = torch.load(Path(folder) / "images.pt")
    weights = torch.arange(8 * 5).view(8, 5).sin()
    part = slice(rank * 8 // world, (rank + 1) * 8 // world)
    (net(images[part]) * weights[part]).sum().backward()
    for parameter in net.parameters():
        dist.all_reduce(parameter.grad)
    if rank == 0:
        torch.save(([p.grad for p in net.parameters()], dict(net.named_buffers())), Path(folder) / "result.pt")
    dist.destroy_process_group()
