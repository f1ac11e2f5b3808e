"""Sampled negatives of a large memory: what ``MEMORY.NEGATIVES`` saves and what it gets wrong.

    python benchmarks/negatives.py [--clusters 100000] [--dim 2048] [--batch 256] [--json]

Rows are cluster centres of low intrinsic dimension, features noisy copies of rows, so that every feature has close
wrong rows; the more ``--noise``, the earlier in a training. Time is that of forward and backward. Errors are over
``--draws`` draws: of the loss (mean and spread, relative to the loss of all rows), and of the gradient with respect to
the features (relative norm of the difference, and cosine).
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import checkout  # noqa: F401
import torch
from gpu import now, options, parse, table, write
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from unreid.memory.contrast import contrastive_loss
from unreid.memory.negatives import sampled_contrastive_loss

SMOKE = {"clusters": 500, "dim": 32, "batch": 16, "negatives": [50], "draws": 2}
LATENT, TEMP = 48, 0.05


def world(clusters: int, dim: int, batch: int, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rows (C, D), unit features (B, D) and their rows int64 (B,)."""
    generator = torch.Generator().manual_seed(0)
    latent = min(LATENT, dim)
    frame = torch.linalg.qr(torch.randn(dim, latent, generator=generator))[0].T
    centers = normalize(torch.randn(clusters, latent, generator=generator), dim=1)
    targets = torch.randperm(clusters, generator=generator)[:batch]
    features = centers[targets] + noise * torch.randn(batch, latent, generator=generator) / latent**0.5
    return centers @ frame, normalize(features @ frame, dim=1), targets


def measure(args: argparse.Namespace, noise: float) -> list[dict[str, float]]:
    """A row of figures for all rows of the bank, then one for every number of negatives."""
    device = torch.device(args.device)
    bank, features, targets = (part.to(device) for part in world(args.clusters, args.dim, args.batch, noise))

    def step(candidates: Tensor | None) -> tuple[float, Tensor, float]:
        x = features.clone().requires_grad_()
        start = now(device)
        if candidates is None:
            loss = contrastive_loss(x, bank, targets, temp=TEMP)
        else:
            loss = sampled_contrastive_loss(x, bank, targets, candidates, temp=TEMP)
        loss.backward()
        spent = now(device) - start
        assert x.grad is not None
        return loss.item(), x.grad, spent

    exact, gradient, _ = step(None)  # also the warm-up
    full = statistics.median(step(None)[2] for _ in range(3))
    rows = [{"noise": noise, "negatives": args.clusters - 1, "ms": 1e3 * full, "faster": 1.0, "loss": exact}]
    generator = torch.Generator().manual_seed(1)
    for count in args.negatives:
        draws = [torch.randperm(args.clusters, generator=generator)[:count].to(device) for _ in range(args.draws)]
        found = [step(candidates) for candidates in draws]
        errors = [100 * (loss - exact) / exact for loss, _, _ in found]
        spent = statistics.median(seconds for _, _, seconds in found)
        rows.append(
            {
                "noise": noise,
                "negatives": count,
                "ms": 1e3 * spent,
                "faster": full / spent,
                "loss": statistics.fmean(loss for loss, _, _ in found),
                "loss_error_percent": statistics.fmean(errors),
                "loss_spread_percent": statistics.stdev(errors),
                "gradient_error_percent": statistics.fmean(
                    100 * ((grad - gradient).norm() / gradient.norm()).item() for _, grad, _ in found
                ),
                "gradient_cosine": statistics.fmean(
                    cosine_similarity(grad.flatten(), gradient.flatten(), dim=0).item() for _, grad, _ in found
                ),
            }
        )
    return rows


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = options((__doc__ or "").splitlines()[0], SMOKE)
    parser.add_argument("--clusters", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.7, 1.4])
    parser.add_argument("--negatives", type=int, nargs="+", default=[1000, 4000, 16000, 64000])
    parser.add_argument("--draws", type=int, default=5)
    args = parse(parser, argv)
    rows = [row for noise in args.noise for row in measure(args, noise)]
    columns = list(rows[1])
    table(columns, [[row.get(column, "") for column in columns] for row in rows])
    result = {"rows": rows}
    write(args, "negatives", result)
    return result


if __name__ == "__main__":
    main()
