"""The online choice of O2CAP, image by image."""

from __future__ import annotations

import pytest
import torch

from unreid.memory import ProxyMemory

from .batches import clustering_of, unit


@pytest.mark.parametrize("balance", [0.0, 0.15, 0.8, 1.0])
@pytest.mark.parametrize("count", [1, 2])
def test_online_positives_are_the_best_of_every_camera_by_a_mixed_similarity(balance: float, count: int) -> None:
    """``balance`` of the sample's own similarity and the rest of its proxy's; all other proxies compete."""
    labels, cameras = torch.arange(60) % 5, torch.arange(60) // 5 % 3
    memory = ProxyMemory(8, intra=False, offline=False, online=True, online_positives=count, balance=balance)
    memory.reset(unit(60, 8), clustering_of(labels), camids=cameras)
    chosen = torch.arange(0, 60, 7)
    features = unit(len(chosen), 8)
    losses = []
    for feature, label, camera in zip(features, labels[chosen], cameras[chosen]):
        own = int(((memory.cluster == label) & (memory.camera == camera)).nonzero())
        similarity = memory.bank @ feature
        mixed = balance * similarity + (1 - balance) * memory.bank @ memory.bank[own]
        firsts = [max((memory.camera == c).nonzero().flatten().tolist(), key=lambda p: mixed[p]) for c in range(3)]
        positives = sorted(firsts, key=lambda p: -mixed[p])[:count]
        losses.append(-(similarity / memory.temp).log_softmax(0)[positives].mean())
    seen = cameras[chosen]
    expected = sum(torch.stack(losses)[seen == camera].mean() for camera in seen.unique())
    torch.testing.assert_close(memory(features, labels[chosen], camids=seen), expected)
