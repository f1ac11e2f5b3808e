"""The rendered benchmark as a dataset: rendered once, then read like Market-1501."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.market1501 import Market1501
from unreid.data.datasets.statistics import Counts
from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.layouts import market1501
from unreid.rendering.plan import Plan, pid_of
from unreid.rendering.writer import render
from unreid.utils.settings import settings

WORLD_SIZE = ("TRAIN_IDS", "TEST_IDS", "CAMERAS", "DISTRACTORS", "HEIGHT", "WIDTH")
"""Keys that are knobs of a rendered world."""


@DATASETS.register("Synthetic")
class Synthetic(Market1501):
    """Procedurally rendered pedestrians over several cameras, the benchmark that needs no download.

    The first use renders the world into ``<root>/synthetic-<fingerprint>/`` in the layout of Market-1501; later uses
    find it there. The fingerprint covers every knob and the renderer's version, so different worlds live side by side
    and stored numbers can name theirs. The expected counts are those of the plan.

    Args:
        root: folder that holds the dataset folders; created if needed.
        knobs: the world; None: the default preset.
        strict: see :class:`~unreid.data.datasets.base.ReIDDataset`.
        workers: rendering processes; None: one a core.

    Raises:
        UserError: the folder cannot be written.
    """

    name = "Synthetic"
    folders: tuple[str, ...] = ()

    def __init__(
        self,
        root: str | Path,
        knobs: WorldKnobs | None = None,
        *,
        strict: bool = False,
        workers: int | None = None,
    ) -> None:
        self.knobs = knobs if knobs is not None else WorldKnobs()
        plan = market1501(self.knobs)
        folder = Path(root) / f"synthetic-{self.knobs.fingerprint('market1501')}"
        self._planned = _planned_counts(plan)
        super().__init__(render(self.knobs, plan, folder, layout="market1501", workers=workers), strict=strict)

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        node, world = cfg.DATASETS.SYNTHETIC, cls._world(cfg)
        knobs = WorldKnobs.preset(
            world.PRESET,
            seed=world.SEED,
            images_per_camera=(node.IMAGES_PER_CAMERA, node.IMAGES_PER_CAMERA),
            **settings(node, *WORLD_SIZE),
        )
        return cls(cfg.DATASETS.ROOT, knobs, strict=cfg.DATASETS.STRICT)

    @staticmethod
    def _world(cfg: Any) -> Any:
        """The node whose PRESET and SEED tell the world from others of its size."""
        return cfg.DATASETS.SYNTHETIC

    def _expected(self, split: str) -> tuple[Counts, ...]:
        return (self._planned[self.split_folders[split]],)


@DATASETS.register("SyntheticSource")
class SyntheticSource(Synthetic):
    """Another rendered world of the same size, for transfer: other people, cameras and light."""

    name = "SyntheticSource"

    @staticmethod
    def _world(cfg: Any) -> Any:
        return cfg.DATASETS.SYNTHETIC_SOURCE


def _planned_counts(plan: Plan) -> dict[str, Counts]:
    """Counts per folder, junk left out."""
    members: dict[str, list[tuple[int, int]]] = {}
    for roll in plan.rolls:
        pid = pid_of(roll.passage)
        for path in (path for target in roll.targets for path in target if pid >= 0):
            members.setdefault(path.partition("/")[0], []).append((pid, roll.passage.camera))
    return {
        folder: Counts(len({pid for pid, _ in rows}), len(rows), len({camera for _, camera in rows}))
        for folder, rows in members.items()
    }
