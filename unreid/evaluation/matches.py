"""Where the matches of every query stand in its ranking, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class Matches:
    """What is in front of every match. All tensors are (b, M): row, match in rank order; M pads the rows.

    "below" counts entries at a smaller distance, "upto" those at a distance up to the match's own.
    """

    real: Tensor
    below: Tensor
    upto: Tensor
    match_below: Tensor
    match_upto: Tensor
    negatives: Tensor  # non-matches in front, ties in gallery order

    @classmethod
    def rank(cls, dist: Tensor, match: Tensor, drop: Tensor) -> Matches:
        """Ranks the matches of (b, G) distances; ``drop`` marks entries that are not in the gallery."""
        row, column = match.nonzero(as_tuple=True)
        count = torch.bincount(row, minlength=len(match))
        width = max(1, int(count.max())) if len(count) else 1
        real = torch.arange(width, device=dist.device) < count[:, None]
        values = torch.full(real.shape, torch.inf, dtype=dist.dtype, device=dist.device)
        values[real] = dist[row, column]  # both sides are in row order
        values = values.sort(dim=1).values

        kept = dist.masked_fill(drop, torch.inf)
        ranked = _sorted_rows(kept)
        below = torch.searchsorted(ranked, values)
        upto = torch.searchsorted(ranked, values, right=True)
        match_below = torch.searchsorted(values, values)
        match_upto = torch.searchsorted(values, values, right=True)
        negatives = below - match_below
        tied = real & (upto - below > match_upto - match_below)  # a match and a non-match at one distance
        row = tied.any(1).nonzero()[:, 0]
        if len(row):
            negatives[row] = negatives[row].masked_scatter(real[row], _negatives_in_order(kept[row], match[row]))
        return cls(real, below, upto, match_below, match_upto, negatives)

    def average_precision(self) -> Tensor:
        """float64 (2, b): by steps and by trapezoids; nan for rows without a match."""
        after = self.match_upto.double() / self.upto.clamp(min=1)
        before = torch.where(self.below > 0, self.match_below.double() / self.below.clamp(min=1), 1.0)
        both = torch.stack([after, (before + after) / 2])
        return both.where(self.real, 0.0).sum(-1) / self.real.sum(-1)

    def inverse_negative_penalty(self) -> Tensor:
        """float64 (1, b): matches over the rank of the last one; nan for rows without a match."""
        count = self.real.sum(1)
        last = self.negatives.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0]
        return (count.double() / torch.where(count > 0, last + count, 0)).unsqueeze(0)

    def cmc_bins(self, topk: int, first_match_break: bool) -> np.ndarray:
        """float64 (topk,): weight of the matches per rank, summed over the rows.

        Unless the first one alone counts, a match at position p (0-based) with j before it adds 1 / matches to rank
        p - j + 1.
        """
        if first_match_break:
            rank, weight = self.negatives[:, :1], self.real[:, :1].double()
        else:
            rank, weight = self.negatives, self.real / self.real.sum(1, keepdim=True).clamp(min=1).double()
        inside = (weight > 0) & (rank < topk)
        bins = np.bincount(rank[inside].cpu().numpy(), weights=weight[inside].cpu().numpy(), minlength=topk)
        return bins[:topk]


def _negatives_in_order(dist: Tensor, match: Tensor) -> Tensor:
    """int64 (matches,): non-matches in front of every match of (b, G) distances, row by row in stable rank order."""
    hit = match.gather(1, dist.sort(dim=1, stable=True).indices)
    return (~hit).cumsum(1)[hit]


def _sorted_rows(values: Tensor) -> Tensor:
    """``values`` with every row in ascending order. NumPy's value sort is several times faster than torch's on CPU."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=1))
    return values.sort(dim=1).values
