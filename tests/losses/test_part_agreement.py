"""PPLR's refined labels against sums written out image by image."""

from __future__ import annotations

import torch

from unreid.losses import refined_label_loss


def test_the_parts_of_an_image_share_its_label_by_their_agreements() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    parts = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
    agreement = torch.rand(5, 3, generator=generator, dtype=torch.float64)
    targets = torch.tensor([0, 3, 1, 1, 2])
    total = 0.0
    for image in range(5):
        shares = agreement[image].exp() / agreement[image].exp().sum()
        label = 0.7 * torch.eye(4, dtype=torch.float64)[targets[image]]
        for part in range(3):
            label = label + 0.3 * shares[part] * parts[image, :, part].softmax(dim=0)
        total -= float((label * logits[image].log_softmax(dim=0)).sum()) / 5
    assert abs(float(refined_label_loss(logits, parts, targets, agreement, beta=0.7)) - total) < 1e-12
