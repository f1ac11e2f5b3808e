"""A relation between the rows and columns of a distance matrix, evaluated where it is asked for.

Nothing here stores N x N numbers but :class:`DenseRelation`, which holds what an old file holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from unreid.constraints.intervals import lag
from unreid.constraints.links import Links
from unreid.constraints.records import Records
from unreid.constraints.travel import TravelTable


class Relation(ABC):
    """``relation.at(i, j)``: a number for a row and a column.

    Attributes:
        shape: rows and columns.
        lowest: no value lies below it.
    """

    lowest = 0.0

    def __init__(self, shape: tuple[int, int], **arrays: np.ndarray) -> None:
        self.shape = shape
        self._arrays = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    @abstractmethod
    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """float32 values at rows ``i`` and columns ``j`` (int64, broadcast against each other), on their device."""

    def block(self, rows: slice, device: torch.device | str = "cpu") -> Tensor:
        """float32 (rows, columns)."""
        i = torch.arange(*rows.indices(self.shape[0]), device=device)
        return self.at(i[:, None], torch.arange(self.shape[1], device=device)[None])

    def _on(self, device: torch.device) -> dict[str, Tensor]:
        """The arrays on a device; they stay there."""
        if any(array.device != device for array in self._arrays.values()):
            self._arrays = {name: array.to(device) for name, array in self._arrays.items()}
        return self._arrays


class SameCamera(Relation):
    """R of SCP: 1 where both tracklets come from one camera, else 0. Pairs of a record with itself are never asked."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """``rows`` and ``columns``: int64 cameras."""
        super().__init__((len(rows), len(columns)), rows=rows, columns=columns)

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        cameras = self._on(i.device)
        return (cameras["rows"][i] == cameras["columns"][j]).float()


class Overlap(Relation):
    """O of TOC: 1 for linked pairs, else 0."""

    def __init__(self, links: Links) -> None:
        code = links.rows() * links.width + links.index
        super().__init__((links.height, links.width), code=code)

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        known = self._on(i.device)["code"]
        wanted = i * self.shape[1] + j
        if not len(known):
            return torch.zeros(wanted.shape, device=i.device)
        place = torch.searchsorted(known, wanted.contiguous()).clamp_(max=len(known) - 1)
        return (known[place] == wanted).float()


class Plausibility(Relation):
    """P of STS: 1 within a pass, 0 for passes that overlap in time, else from the travel table.

    Args:
        rows, columns: records with time; one and the same on the training set.
        travel: the table; its cameras are those of the records.
    """

    def __init__(self, rows: Records, columns: Records, travel: TravelTable) -> None:
        arrays = {"table": travel.table.astype(np.float32)}
        for side, records in (("row", rows), ("col", columns)):
            if records.track_start is None or records.track_end is None:
                raise ValueError("plausibility needs records with time")
            if len(records) and int(records.camids.max()) >= travel.cameras:
                raise ValueError(f"camera {int(records.camids.max()) + 1} is beyond the table's {travel.cameras}")
            arrays[f"{side}_camids"], arrays[f"{side}_tracks"] = records.camids, records.tracks
            arrays[f"{side}_start"], arrays[f"{side}_end"] = records.track_start, records.track_end
        super().__init__((len(rows), len(columns)), **arrays)
        self.travel = travel

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        a = self._on(i.device)
        gap = lag(a["row_start"][i], a["row_end"][i], a["col_start"][j], a["col_end"][j])
        origin = self.travel.origin
        # In float64 as where the table was made, so that a lag falls into the same bin.
        number = torch.round(gap.double() / self.travel.bin).long()
        known = a["table"][a["row_camids"][i], a["col_camids"][j], number.clamp(-origin, origin) + origin]
        value = torch.where(number.abs() > origin, torch.full_like(known, self.travel.unknown), known)
        value = torch.where(gap == 0, torch.zeros_like(value), value)
        return torch.where(a["row_tracks"][i] == a["col_tracks"][j], torch.ones_like(value), value)


class DenseRelation(Relation):
    """Values as an old file lists them: float (R, C)."""

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__((matrix.shape[0], matrix.shape[1]), matrix=matrix.astype(np.float32, copy=False))
        self.lowest = float(matrix.min(initial=0.0))

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        return self._on(i.device)["matrix"][i, j]
