"""Sampled negatives of a large memory: what ``MEMORY.NEGATIVES`` saves and what it gets wrong.

    python benchmarks/negatives.py [--clusters 100000] [--dim 2048] [--batch 256] [--json FILE]

Rows are cluster centres of low intrinsic dimension, features noisy copies of rows, so that every feature has close
wrong rows; the more ``--noise``, the earlier in a training. Time is that of forward and backward. Errors are over
``--draws`` draws: of the loss (mean and spread, relative to the loss of all rows), and of the gradient with respect to
the features (relative norm of the difference, and cosine).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from unreid.memory.contrast import contrastive_loss
from unreid.memory.negatives import sampled_contrastive_loss

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
    """Prints and returns a row of figures for all rows of the bank and for every number of negatives."""
    bank, features, targets = world(args.clusters, args.dim, args.batch, noise)

    def step(candidates: Tensor | None) -> tuple[float, Tensor, float]:
        x = features.clone().requires_grad_()
        start = time.perf_counter()
        if candidates is None:
            loss = contrastive_loss(x, bank, targets, temp=TEMP)
        else:
            loss = sampled_contrastive_loss(x, bank, targets, candidates, temp=TEMP)
        loss.backward()
        assert x.grad is not None
        return loss.item(), x.grad, time.perf_counter() - start

    exact, gradient, _ = step(None)  # also the warm-up
    full = statistics.median(step(None)[2] for _ in range(3))
    print(f"\n{args.clusters} rows x {args.dim}, batch {args.batch}, noise {noise}: ", end="")
    print(f"loss {exact:.4f}, {1e3 * full:.0f} ms a step")
    print(
        f"{'drawn':>8}{'ms':>8}{'faster':>8}{'loss error %':>14}{'spread %':>10}{'gradient error %':>18}{'cosine':>8}"
    )
    rows = [{"noise": noise, "negatives": args.clusters - 1, "seconds": full, "loss": exact}]
    generator = torch.Generator().manual_seed(1)
    for count in args.negatives:
        found = [step(torch.randperm(args.clusters, generator=generator)[:count]) for _ in range(args.draws)]
        errors = [100 * (loss - exact) / exact for loss, _, _ in found]
        changes = [100 * ((grad - gradient).norm() / gradient.norm()).item() for _, grad, _ in found]
        cosines = [cosine_similarity(grad.flatten(), gradient.flatten(), dim=0).item() for _, grad, _ in found]
        row = {
            "noise": noise,
            "negatives": count,
            "seconds": statistics.median(spent for _, _, spent in found),
            "loss_error_percent": statistics.fmean(errors),
            "loss_spread_percent": statistics.stdev(errors),
            "gradient_error_percent": statistics.fmean(changes),
            "gradient_cosine": statistics.fmean(cosines),
        }
        rows.append(row)
        print(f"{count:8}{1e3 * row['seconds']:8.0f}{full / row['seconds']:8.1f}", end="")
        print(f"{row['loss_error_percent']:14.2f}{row['loss_spread_percent']:10.2f}", end="")
        print(f"{row['gradient_error_percent']:18.1f}{row['gradient_cosine']:8.3f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clusters", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.7, 1.4])
    parser.add_argument("--negatives", type=int, nargs="+", default=[1000, 4000, 16000, 64000])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    args = parser.parse_args()
    rows = [row for noise in args.noise for row in measure(args, noise)]
    if args.json:
        args.json.write_text(json.dumps({"arguments": vars(args), "rows": rows}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
