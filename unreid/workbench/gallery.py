"""What is searched: a vector store or a feature table, with one answer to one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn.functional import normalize

from unreid.evaluation.rerank import rerank_features
from unreid.utils.errors import UserError
from unreid.workbench.feature_table import NO_CAMERA, FeatureMeta, FeatureTable
from unreid.workbench.identity_table import NO_IDENTITY

CANDIDATES = 200
"""Rows that are fetched for a query when they are to be re-ranked."""


@dataclass(frozen=True)
class Hit:
    """An image that was found.

    Attributes:
        path: below the gallery's root.
        score: cosine, or after re-ranking 1 - the re-ranked distance.
        vector: float32 (D,), where it was asked for.
    """

    path: str
    camera: str
    pid: str
    score: float
    vector: np.ndarray | None = None


@dataclass(frozen=True)
class Cameras:
    """Which cameras may answer.

    Attributes:
        only: these; empty: all.
        without: not this one; "" for none.
    """

    only: tuple[str, ...] = ()
    without: str = ""


class Gallery(Protocol):
    """Something that finds the nearest images of a vector."""

    meta: FeatureMeta
    width: int

    def search(self, vector: np.ndarray, k: int, cameras: Cameras, *, vectors: bool = False) -> list[Hit]:
        """The k nearest by cosine, nearest first."""
        ...


class TableGallery:
    """A feature table in memory: exact, no package and no index needed.

    Args:
        pids: of each; none known where left out.
    """

    def __init__(self, table: FeatureTable, pids: Sequence[str] | None = None) -> None:
        self.meta = table.meta
        self.width = table.vectors.shape[1]
        self._table = table
        self._pids = pids
        self._unit = normalize(torch.from_numpy(table.vectors))
        self._cameras = np.array(table.cameras, dtype=object)

    def search(self, vector: np.ndarray, k: int, cameras: Cameras, *, vectors: bool = False) -> list[Hit]:
        score = self._unit @ normalize(torch.from_numpy(vector), dim=0)
        refused = np.zeros(len(score), dtype=bool)
        if cameras.only:
            refused |= ~np.isin(self._cameras, cameras.only)
        if cameras.without:
            refused |= self._cameras == cameras.without
        score[torch.from_numpy(refused)] = -torch.inf
        best = score.topk(min(k, int((~refused).sum())))
        return [self._hit(row, value, vectors) for row, value in zip(best.indices.tolist(), best.values.tolist())]

    def _hit(self, row: int, score: float, vectors: bool) -> Hit:
        table = self._table
        pid = self._pids[row] if self._pids is not None else NO_IDENTITY
        return Hit(table.paths[row], table.cameras[row], pid, score, table.vectors[row] if vectors else None)


def find(
    gallery: Gallery,
    vector: np.ndarray,
    k: int,
    *,
    own: str = "",
    cameras: Cameras | None = None,
    rerank: bool = False,
) -> list[Hit]:
    """The k nearest images of one query.

    Args:
        vector: float32 (D,).
        own: path in the gallery that is the query itself and is left out.
        rerank: k-reciprocal re-ranking of the nearest :data:`CANDIDATES` (or 4 k) images.
    """
    width = max(CANDIDATES, 4 * k) if rerank else k
    found = gallery.search(vector, width + bool(own), cameras or Cameras(), vectors=rerank)
    hits = [hit for hit in found if hit.path != own][:width]
    if not rerank or len(hits) < 2:
        return hits[:k]
    rows = normalize(torch.from_numpy(np.stack([hit.vector for hit in hits if hit.vector is not None])))
    query = normalize(torch.from_numpy(vector), dim=0)[None]
    distance = rerank_features(query, rows)[0]
    order = torch.argsort(distance, stable=True)[:k].tolist()
    return [Hit(hits[i].path, hits[i].camera, hits[i].pid, 1 - float(distance[i])) for i in order]


def pids_of(table: FeatureTable, pid: dict[str, str]) -> list[str]:
    """Identities of a table's rows, :data:`~unreid.workbench.identity_table.NO_IDENTITY` where none is known;
    :class:`UserError` if none of those that are listed is in the table."""
    if pid and pid.keys().isdisjoint(table.paths):
        raise UserError(
            f"None of the {len(pid)} images with identities is among the {len(table)} of the feature table."
        )
    return [pid.get(path, NO_IDENTITY) for path in table.paths]


def camera_of_query(camera: str, others: bool) -> str:
    """The camera to leave out for a query."""
    return camera if others and camera != NO_CAMERA else ""
