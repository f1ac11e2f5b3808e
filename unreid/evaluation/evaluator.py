"""Scores features on the query and gallery of a dataset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unreid.evaluation.camera_rerank import camera_rerank_features
from unreid.evaluation.distance import DistanceBlocks, DistanceModifier, RowBlocks
from unreid.evaluation.metrics import RankingResult, cmc_map
from unreid.evaluation.rerank import rerank_features
from unreid.neighbors import camera_centered
from unreid.structures import Tracklet
from unreid.utils.arrays import ArrayLike, as_rows
from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.data.datasets.base import ReIDDataset, Split

logger = logging.getLogger(__name__)

Extract = Callable[[list[Tracklet]], Tensor]
"""Records -> features float (N, D); a row of zeros stands for an unreadable sample."""

RERANKED = "_rerank"
COLUMNS = ("mAP", "R1", "R5", "R10", "mAP_step")


@dataclass(frozen=True)
class RerankSettings:
    """Arguments of :func:`unreid.evaluation.rerank.rerank`."""

    k1: int = 20
    k2: int = 6
    lambda_value: float = 0.3
    square_input: bool = True


@dataclass(frozen=True)
class CameraRerankSettings:
    """Arguments of :func:`unreid.evaluation.camera_rerank.camera_rerank`."""

    k1_intra: int = 5
    k1_inter: int = 20
    k2_intra: int = 3
    k2_inter: int = 3
    lambda_value: float = 0.3


@dataclass(eq=False)
class Evaluator:
    """Ranks a gallery for every query and reports mAP and CMC.

    Args:
        query, gallery: records with their identities.
        cross_camera_filter: remove gallery entries of the query's identity and camera.
        single_gallery_shot: the classic protocol of CUHK03: other cameras only, one random gallery entry per
            identity, all matches counted (see :func:`~unreid.evaluation.metrics.cmc_map`).
        ap: "step" or "trapezoid" (BUC); with the latter the scores hold "mAP_step" as well.
        metric: see :func:`~unreid.evaluation.distance.pairwise_distance`.
        camera_centered: take from every feature its camera's mean over query and gallery, and normalise, first.
        rerank: score the re-ranked gallery, too; by neighbours, or by those of the own and of the other cameras.
        modifiers: constraints applied to the query x gallery distances, in this order. Re-ranking sees them there,
            while its query x query and gallery x gallery distances stay as they are.
        seed: of the draws of ``single_gallery_shot``.

    Example:
        >>> import numpy as np
        >>> from unreid.data.datasets.base import Split
        >>> from unreid.structures import GroundTruth
        >>> query = Split([Tracklet(("q.jpg",), 0, 0)], GroundTruth(np.array([7])))
        >>> gallery = Split([Tracklet((n,), 1, i) for i, n in enumerate("ab")], GroundTruth(np.array([8, 7])))
        >>> features = {"q.jpg": [1.0, 0.0], "a": [0.0, 1.0], "b": [0.9, 0.1]}
        >>> extract = lambda tracklets: torch.tensor([features[t.paths[0]] for t in tracklets])
        >>> Evaluator(query, gallery).run(extract)
        {'mAP': 100.0, 'R1': 100.0, 'R5': 100.0, 'R10': 100.0}
    """

    query: Split
    gallery: Split
    _: KW_ONLY
    cross_camera_filter: bool = True
    single_gallery_shot: bool = False
    ap: str = "step"
    metric: str = "squared_euclidean"
    camera_centered: bool = False
    rerank: RerankSettings | CameraRerankSettings | None = None
    modifiers: Sequence[DistanceModifier] = ()
    seed: int = 0

    @classmethod
    def from_config(cls, cfg: Any, dataset: ReIDDataset, modifiers: Sequence[DistanceModifier] = ()) -> Evaluator:
        """The evaluator of ``dataset`` as ``cfg.TEST`` describes it.

        Raises:
            UserError: ``TEST.CAMERA_CENTERED``, and query and gallery come from one camera.
        """
        node = cfg.TEST.RERANK
        settings: RerankSettings | CameraRerankSettings
        settings = RerankSettings(node.K1, node.K2, node.LAMBDA)
        if node.CAMERAS:
            cameras = cfg.CLUSTER.CA
            settings = CameraRerankSettings(cameras.K1_INTRA, cameras.K1_INTER, lambda_value=node.LAMBDA)
        query, gallery = dataset.query, dataset.gallery
        if cfg.TEST.CAMERA_CENTERED and len({*query.camids, *gallery.camids}) == 1:
            raise UserError(
                f"TEST.CAMERA_CENTERED takes each camera's mean away, and query and gallery of {dataset.name} count as "
                "one camera: name the cameras (DATASETS.FOLDER.CAMERA_REGEX or MANIFEST), or set it False."
            )
        return cls(
            query,
            gallery,
            cross_camera_filter=dataset.cross_camera_filter,
            single_gallery_shot=dataset.single_gallery_shot,
            ap=cfg.TEST.AP,
            camera_centered=cfg.TEST.CAMERA_CENTERED,
            rerank=settings if node.ENABLED else None,
            modifiers=modifiers,
            seed=cfg.SEED,
        )

    def run(self, extract: Extract) -> dict[str, float]:
        """Extracts both sides and scores them; see :meth:`score`."""
        return self.score(extract(self.query.tracklets), extract(self.gallery.tracklets))

    def score(self, query: ArrayLike, gallery: ArrayLike) -> dict[str, float]:
        """Scores of features (Q, D) and (G, D).

        Returns:
            "mAP", "R1", "R5", "R10" in percent; with re-ranking the same again with the ending "_rerank".

        Raises:
            UserError: no query has a match in the gallery.
        """
        query, gallery = as_rows(query, "query features"), as_rows(gallery, "gallery features")
        readable, asked = self._readable(gallery, "gallery"), self._readable(query, "query")
        if self.camera_centered:
            query, gallery = self.centered(query, gallery)
        blocks = DistanceBlocks(query, gallery, self.metric, self.modifiers)
        complete = bool(readable.all())
        if self.rerank is None:
            columns = blocks if complete else lambda rows: blocks(rows)[:, readable]
            return self._scores(self._rank(columns, asked, readable))
        q_g = blocks.dense() if complete else blocks.dense()[:, readable]
        scores = self._scores(self._rank(q_g, asked, readable))
        reranked = self._rerank(query, gallery[readable], q_g, asked, readable)
        again = self._scores(self._rank(reranked, asked, readable))
        return scores | {f"{name}{RERANKED}": value for name, value in again.items()}

    def centered(self, query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides less the means of their cameras, which are taken over both."""
        cameras = np.concatenate((self.query.camids, self.gallery.camids))
        both = camera_centered(torch.cat((query, gallery.to(query))), cameras)
        return both[: len(query)], both[len(query) :].to(gallery.device)

    def _rerank(self, query: Tensor, gallery: Tensor, q_g: Tensor, asked: Tensor, readable: Tensor) -> Tensor:
        """Without unreadable queries, whose zeros would be among everybody's nearest; their rows stay as they are."""
        settings = self.rerank
        rows = slice(None) if bool(asked.all()) else asked
        if isinstance(settings, RerankSettings):
            found = rerank_features(query[rows], gallery, q_g=q_g[rows], metric=self.metric, **vars(settings))
        else:
            cameras = self.query.camids[asked.cpu().numpy()], self.gallery.camids[readable.cpu().numpy()]
            found = camera_rerank_features(query[rows], gallery, *cameras, q_g=q_g[rows], **vars(settings))
        return found if len(found) == len(q_g) else q_g.float().masked_scatter(asked[:, None], found)

    def _rank(self, distances: Tensor | RowBlocks, asked: Tensor, readable: Tensor) -> RankingResult:
        q_pids = self.query.truth.pids.copy()
        # An identity that nobody has: an unreadable query has no match and is skipped.
        q_pids[~asked.cpu().numpy()] = min(q_pids.min(), self.gallery.truth.pids.min()) - 1
        kept = readable.cpu().numpy()
        return cmc_map(
            distances,
            q_pids,
            self.gallery.truth.pids[kept],
            self.query.camids,
            self.gallery.camids[kept],
            ap=self.ap,
            filter_same_camera=self.cross_camera_filter,
            separate_camera_set=self.single_gallery_shot,
            single_gallery_shot=self.single_gallery_shot,
            first_match_break=not self.single_gallery_shot,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _scores(self, result: RankingResult) -> dict[str, float]:
        scores = result.as_dict()
        if self.ap != "step":
            scores["mAP_step"] = 100.0 * result.mean_ap("step")
        return scores

    def _readable(self, features: Tensor, side: str) -> Tensor:
        """bool (N,): rows that are not the zeros of an unreadable sample."""
        readable = features.abs().amax(dim=1) > 0
        missing = int((~readable).sum())
        if missing:
            logger.warning("%d of %d %s samples have no feature and are left out", missing, len(readable), side)
        return readable


def format_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Aligned text table of scores in percent, one row per name; re-ranked scores get a row of their own.

    Example:
        >>> print(format_table({"untrained": {"mAP": 10.7, "R1": 24.0, "R5": 40.0, "R10": 48.5}}))
                     mAP     R1     R5    R10
        untrained   10.7   24.0   40.0   48.5
    """
    lines: dict[str, Mapping[str, Any]] = {}
    for name, scores in rows.items():
        lines[name] = scores
        if f"mAP{RERANKED}" in scores:
            lines[f"{name}, re-ranked"] = {column: scores.get(f"{column}{RERANKED}") for column in COLUMNS}
    columns = [column for column in COLUMNS if any(scores.get(column) is not None for scores in lines.values())]
    names = max((len(name) for name in lines), default=0)
    table = [" " * names + "".join(f"  {column.replace('_', ' '):>{_cell(column)}}" for column in columns)]
    for name, scores in lines.items():
        cells = ("-" if scores.get(column) is None else f"{scores[column]:.1f}" for column in columns)
        table.append(name.ljust(names) + "".join(f"  {cell:>{_cell(c)}}" for c, cell in zip(columns, cells)))
    return "\n".join(table)


def _cell(column: str) -> int:
    return max(len("100.0"), len(column))
