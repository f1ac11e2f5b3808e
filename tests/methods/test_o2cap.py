"""CAP and O2CAP: which losses are on in which round, and what a step moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.methods.toys import at_step, toy_batch, toy_clustering, toy_method, train_step
from unreid.memory import ProxyMemory
from unreid.methods import CAP, O2CAP
from unreid.utils.errors import UserError

LABELS = torch.tensor([0, 0, 0, 0, -1, 1, 1, 1, 1, 2, 2, 2])
CAMIDS = torch.tensor([0, 1, 1, 2, 0, 0, 0, 1, 2, 2, 2, 0])
BATCH = torch.tensor([0, 1, 2, 5, 6, 8, 9, 11])


def proxies(name: str, *overrides: Any) -> Any:
    needed = ("METHOD.NAME", name, "MEMORY.NAME", "ProxyMemory", "MEMORY.TEMP", 0.07)
    own = ("MEMORY.PROXY.INTRA", True, "MEMORY.PROXY.ONLINE", False) if name == "CAP" else ()
    return toy_method(*needed, *own, *overrides, camids=CAMIDS)


def balanced(losses: Tensor) -> Tensor:
    """Means over the samples of a camera, summed."""
    cameras = CAMIDS[BATCH]
    return torch.stack([losses[c == cameras].mean() for c in cameras.unique()]).sum()


def intra_loss(memory: ProxyMemory, features: Tensor) -> Tensor:
    losses = []
    for feature, label, camera in zip(features, LABELS[BATCH], CAMIDS[BATCH]):
        seen = (memory.camera == camera).nonzero().flatten()
        own = int((memory.cluster[seen] == label).nonzero())
        losses.append(-(feature @ memory.bank[seen].T / 0.07).log_softmax(0)[own])
    return balanced(torch.stack(losses))


def offline_loss(memory: ProxyMemory, features: Tensor) -> Tensor:
    """Fewer proxies than there may be negatives: all count."""
    log = (features @ memory.bank.T / 0.07).log_softmax(1)
    own = LABELS[BATCH][:, None] == memory.cluster
    return balanced(-(log * own).sum(1) / own.sum(1))


def test_cap_learns_inside_cameras_first_and_across_them_later() -> None:
    method = proxies("CAP", "MEMORY.PROXY.INTER_AFTER", 2)
    assert type(method) is CAP
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    for round in range(4):
        method.plan(toy_clustering(LABELS), round)
        output = method.step(batch, at_step(0))
        expected = intra_loss(method.memory, output.cache.features)
        if round >= 2:
            expected = expected + offline_loss(method.memory, output.cache.features)
        torch.testing.assert_close(output.losses["memory"], expected)


def test_o2cap_moves_the_proxies_of_the_batch_in_batch_order() -> None:
    method = proxies("O2CAP", "MEMORY.MOMENTUM", 0.2, "MEMORY.PROXY.ONLINE", False)
    assert type(method) is O2CAP
    method.plan(toy_clustering(LABELS), 0)
    memory = method.memory
    bank, offline = memory.bank.clone(), offline_loss
    optimizer = torch.optim.SGD(method.model.parameters(), 0.0)
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    first = method.step(batch, at_step(0))
    torch.testing.assert_close(first.losses["memory"], offline(memory, first.cache.features))
    output = train_step(method, optimizer, batch, at_step(0))
    for feature, label, camera in zip(output.cache.features, LABELS[BATCH], CAMIDS[BATCH]):
        row = int(memory.table[label, camera])
        bank[row] = F.normalize(0.2 * bank[row] + 0.8 * feature, dim=0)
    torch.testing.assert_close(memory.bank, bank)


def test_groups_of_proxies_bound_an_update() -> None:
    """Four images of a proxy in a pass; three proxies have several images, so a batch of 16 joins two passes."""
    method = proxies("O2CAP", "DATALOADER.SAMPLER.NAME", "proxy", "DATALOADER.NUM_INSTANCE", 4)
    method.plan(toy_clustering(LABELS), 0)
    assert method.group_bound == 4 * 2
    plain = proxies("O2CAP")
    plain.plan(toy_clustering(LABELS), 0)
    assert plain.group_bound == 4 * 2


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("O2CAP", ("MEMORY.NAME", "ClusterMemory"), "MEMORY.NAME ProxyMemory"),
        ("CAP", ("MEMORY.PROXY.ONLINE", True), "METHOD.NAME O2CAP for other choices"),
        ("O2CAP", ("MEMORY.PROXY.INTER_AFTER", 3), "INTRA where INTER_AFTER"),
        ("O2CAP", ("MEMORY.SMOOTH", 0.1), "MEMORY.SMOOTH"),
    ],
)
def test_what_does_not_fit_is_said(name: str, overrides: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        proxies(name, *overrides)
