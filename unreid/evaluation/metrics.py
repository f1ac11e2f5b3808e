"""CMC, mean average precision and mINP of a ranked gallery.

Nothing is sorted but distances: the rank of a match is the number of gallery entries in front of it, so one value
sort of each row and a few binary searches replace the argsort of the textbook version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unreid.evaluation.distance import RowBlocks, row_slices
from unreid.evaluation.matches import Matches
from unreid.utils.arrays import ArrayLike, as_codes, as_rows
from unreid.utils.errors import InputError, UserError

AP_RULES = ("step", "trapezoid")
TABLE_RANKS = (1, 5, 10)


@dataclass(frozen=True)
class RankingResult:
    """Scores of one ranking. All values are shares in [0, 1].

    Attributes:
        cmc: float64 (topk,), share of valid queries with a match within rank k at index k - 1.
        ap: float64 (Q,), average precision of every query; nan where a query has no match and is skipped.
        ap_trapezoid: float64 (Q,), the area under the precision-recall polyline (BUC; about 3 points lower).
        inp: float64 (Q,), inverse negative penalty (Ye et al., TPAMI 2021): matches over the rank of the last match;
            nan where a query is skipped. Like the average precision it is that of the whole gallery.
        first_rank: int64 (Q,), rank of the first match, from 1 on; 0 where a query is skipped.
        matches: int64 (Q,), matches in the gallery.
        num_valid: queries that count.
        rule: which of the two :attr:`mAP` averages, "step" or "trapezoid".
    """

    cmc: np.ndarray
    ap: np.ndarray
    ap_trapezoid: np.ndarray
    inp: np.ndarray
    first_rank: np.ndarray
    matches: np.ndarray
    num_valid: int
    rule: str = "step"

    @property
    def mAP(self) -> float:
        """Mean average precision over the valid queries."""
        return self.mean_ap(self.rule)

    @property
    def mINP(self) -> float:
        """Mean inverse negative penalty over the valid queries."""
        return float(np.nanmean(self.inp))

    @property
    def valid(self) -> np.ndarray:
        """bool (Q,): the queries that count."""
        return ~np.isnan(self.ap)

    def mean_ap(self, rule: str) -> float:
        """Mean average precision by a given rule."""
        return float(np.nanmean(self.ap if rule == "step" else self.ap_trapezoid))

    def table(self) -> dict[str, np.ndarray]:
        """A row per query, in columns (Q,) that ``pandas.DataFrame`` takes: position, AP, INP, first rank, matches."""
        return {
            "query": np.arange(len(self.ap)),
            "ap": self.ap if self.rule == "step" else self.ap_trapezoid,
            "inp": self.inp,
            "first_rank": self.first_rank,
            "matches": self.matches,
        }

    def as_dict(self) -> dict[str, float]:
        """mAP, R1, R5 and R10 in percent, under these names."""
        ranks = {f"R{k}": 100.0 * float(self.cmc[min(k, len(self.cmc)) - 1]) for k in TABLE_RANKS}
        return {"mAP": 100.0 * self.mAP, **ranks}


def cmc_map(
    distances: ArrayLike | RowBlocks,
    q_pids: ArrayLike,
    g_pids: ArrayLike,
    q_camids: ArrayLike | None = None,
    g_camids: ArrayLike | None = None,
    *,
    ap: str = "step",
    topk: int = 100,
    filter_same_camera: bool = True,
    separate_camera_set: bool = False,
    single_gallery_shot: bool = False,
    first_match_break: bool = True,
    repeats: int = 10,
    generator: torch.Generator | None = None,
    block: int | None = None,
) -> RankingResult:
    """CMC and average precision of Q queries against G gallery entries (protocol of Market-1501 by default).

    Equal distances keep the order of the gallery in the CMC and are counted together in the average precision (as
    scikit-learn does). A query without a remaining match counts nowhere. Junk is not known: drop id -1 before.

    Args:
        distances: (Q, G), or a function that gives the rows of a slice of it; must be finite.
        q_pids, g_pids, q_camids, g_camids: identities and cameras (Q,) and (G,), integers or strings; cameras None
            (both): nothing is removed by camera.
        ap: "step", the mean of the precision at the matches, or "trapezoid" (BUC), see :class:`RankingResult`.
        topk: length of the CMC; flat beyond the gallery.
        filter_same_camera: remove gallery entries of the query's identity **and** camera.
        separate_camera_set: remove all gallery entries of the query's camera (CUHK03, classic protocol), also for AP.
        single_gallery_shot: the CMC, and it alone, ranks one random gallery entry per identity (CUHK03, classic
            protocol), the mean of ``repeats`` draws from ``generator`` (CPU), whatever ``block`` is.
        first_match_break: count the first match only; else each, see :meth:`Matches.cmc_bins`.
        block: query rows computed at once; default: as many as fit 8 MiB.

    Raises:
        UserError: no query has a match in the gallery.
        ValueError: shapes that do not fit, unknown ``ap``, or distances that are not finite.

    Example:
        >>> result = cmc_map([[0.1, 0.9, 0.2], [0.3, 0.8, 0.1]], ["ann", "bob"], ["ann", "ann", "bob"])
        >>> result.mAP, result.mINP, result.first_rank.tolist()
        (0.9166666666666666, 0.8333333333333333, [1, 1])
    """
    if ap not in AP_RULES:
        raise ValueError(f"ap must be one of {', '.join(AP_RULES)}, not {ap!r}")
    ids = _Ids(q_pids, g_pids, q_camids, g_camids, filter_same_camera, separate_camera_set)
    blocks = _blocks(distances, ids.shape)
    tally = _Tally(ids.shape[0], topk, first_match_break)
    draws = repeats if single_gallery_shot else 1
    for rows in row_slices(ids.shape[0], ids.shape[1] * draws, block):
        dist = _finite(blocks(rows), rows)
        match, drop = ids.masks(rows, dist.device)
        found = Matches.rank(dist, match, drop)
        shots = _single_shots(ids.gallery_groups(dist.device), ~drop, draws, generator) if single_gallery_shot else ()
        tally.add(rows, found, [Matches.rank(dist, match & shot, ~shot) for shot in shots] or [found])
    return tally.result(ids.checked_count(tally.aps[0]), ap)


class _Tally:
    """What is known of Q queries so far."""

    def __init__(self, queries: int, topk: int, first_match_break: bool) -> None:
        self.aps = np.full((3, queries), np.nan)
        self.first_rank, self.matches = np.zeros((2, queries), dtype=np.int64)
        self.hits = np.zeros(topk)
        self.first_match_break = first_match_break

    def add(self, rows: slice, found: Matches, drawn: Sequence[Matches]) -> None:
        """Some queries: their matches, and those in the galleries that the CMC is the mean of."""
        self.aps[:, rows] = torch.cat((found.average_precision(), found.inverse_negative_penalty())).cpu().numpy()
        self.matches[rows] = found.real.sum(1).cpu().numpy()
        self.first_rank[rows] = torch.where(found.real[:, 0], found.negatives[:, 0] + 1, 0).cpu().numpy()
        for one in drawn:
            self.hits += one.cmc_bins(len(self.hits), self.first_match_break) / len(drawn)

    def result(self, num_valid: int, rule: str) -> RankingResult:
        cmc = self.hits.cumsum() / num_valid
        return RankingResult(cmc, self.aps[0], self.aps[1], self.aps[2], self.first_rank, self.matches, num_valid, rule)


def _blocks(distances: ArrayLike | RowBlocks, shape: tuple[int, int]) -> RowBlocks:
    if callable(distances):
        return distances
    whole = as_rows(distances, "distances").detach()
    if tuple(whole.shape) != shape:
        raise InputError(f"distances are {tuple(whole.shape)}, the identities say {shape}.")
    return whole.__getitem__


def _finite(distances: Tensor, rows: slice) -> Tensor:
    """The distances of some queries, at least float32; ``ValueError`` unless all are finite."""
    distances = distances if distances.dtype == torch.float64 else distances.float()
    if distances.numel() and not all(bool(end.isfinite()) for end in distances.aminmax()):  # nan propagates
        raise ValueError(f"distances of queries {rows.start} to {rows.stop - 1} are not all finite")
    return distances


class _Ids:
    """Identities and cameras, compared block by block: no Q x G product is stored."""

    def __init__(
        self,
        q_ids: ArrayLike,
        g_ids: ArrayLike,
        q_cams: ArrayLike | None,
        g_cams: ArrayLike | None,
        same_camera: bool,
        separate: bool,
    ) -> None:
        if (q_cams is None) != (g_cams is None):
            raise InputError("cameras must be given for queries and gallery, (Q,) and (G,), or for neither.")
        if q_cams is None and separate:
            raise InputError("separate_camera_set needs cameras of queries and gallery, (Q,) and (G,).")
        self._same_camera, self._separate = same_camera and q_cams is not None, separate
        q_pids, g_pids = (side.cpu() for side in as_codes(q_ids, g_ids, "identities"))
        q_camids, g_camids = torch.zeros_like(q_pids), torch.zeros_like(g_pids)
        if q_cams is not None and g_cams is not None:
            q_camids, g_camids = (side.cpu() for side in as_codes(q_cams, g_cams, "cameras"))
        if len(q_pids) != len(q_camids) or len(g_pids) != len(g_camids):
            raise InputError(
                f"Every id must have a camera: {len(q_pids)} query ids with {len(q_camids)} cameras, "
                f"{len(g_pids)} gallery ids with {len(g_camids)} cameras."
            )
        self.shape = (len(q_pids), len(g_pids))
        self._query = torch.stack([q_pids, q_camids])
        self._gallery = torch.stack([g_pids, g_camids])

    def masks(self, rows: slice, device: torch.device) -> tuple[Tensor, Tensor]:
        """bool (rows, G) twice: the matches that count, and the entries removed from the gallery."""
        query, self._gallery = self._query[:, rows].to(device), self._gallery.to(device)
        same_pid = query[0, :, None] == self._gallery[0]
        same_cam = query[1, :, None] == self._gallery[1]
        if self._separate:
            drop = same_cam
        elif self._same_camera:
            drop = same_pid & same_cam
        else:
            drop = torch.zeros_like(same_pid)
        return same_pid & ~drop, drop

    def checked_count(self, ap: np.ndarray) -> int:
        """Queries that count; :class:`UserError` if there are none."""
        count = int((~np.isnan(ap)).sum())
        if count:
            return count
        where = " from another camera" if self._same_camera or self._separate else ""
        way_out = ", or evaluate without the camera filter" if where else ""
        raise UserError(
            f"No query has a match in the gallery{where}; check the identities and cameras of the test set{way_out}."
        )

    def gallery_groups(self, device: torch.device) -> Tensor:
        """int64 (G,): the identities of the gallery, numbered from 0."""
        return torch.unique(self._gallery[0].to(device), return_inverse=True)[1]


def _single_shots(groups: Tensor, keep: Tensor, repeats: int, generator: torch.Generator | None) -> list[Tensor]:
    """``repeats`` bool masks (b, G) with one random kept entry per row and gallery identity."""
    rows, columns = keep.shape
    # Row by row in one stream, so that the draws do not depend on how the queries are cut into blocks.
    luck = torch.rand(rows, repeats, columns, dtype=torch.float64, generator=generator).to(keep.device)
    shots = []
    for draw in luck.unbind(1):
        draw = draw.masked_fill(~keep, -1.0)
        best = draw.new_full((rows, int(groups.max()) + 1), -1.0)
        best.scatter_reduce_(1, groups.expand(rows, -1), draw, "amax")
        shots.append(keep & (draw == best.gather(1, groups.expand(rows, -1))))
    return shots
