"""PPLR's refined labels against sums written out image by image."""

from __future__ import annotations

import torch

from unreid.losses import agreement_smoothed_loss, refined_label_loss


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


def test_no_gradient_reaches_the_parts_that_refine_a_label() -> None:
    logits, parts = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4, 3, requires_grad=True)
    refined_label_loss(logits, parts, torch.zeros(5, dtype=torch.int64), torch.rand(5, 3)).backward()
    assert logits.grad is not None and parts.grad is None


def test_a_part_that_agrees_learns_its_label_and_another_one_to_say_nothing() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.tensor([0, 1, 2, 3, 0, 1])
    agreement = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0, 0.3], dtype=torch.float64)
    total = 0.0
    for image in range(6):
        prediction = logits[image].softmax(dim=0)
        away = float((0.25 * (0.25 / prediction).log()).sum())  # Kullback-Leibler divergence from the uniform one
        share = float(agreement[image])
        total += (share * -float(prediction[targets[image]].log()) + (1 - share) * away) / 6
    assert abs(float(agreement_smoothed_loss(logits, targets, agreement)) - total) < 1e-7
    assert abs(float(agreement_smoothed_loss(torch.zeros(2, 4), targets[:2], torch.zeros(2)))) < 1e-6
