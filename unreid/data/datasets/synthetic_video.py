"""The rendered video benchmark: tracklets on a clock that all cameras share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from unreid.data.datasets.base import DATASETS
from unreid.data.datasets.dukemtmc_videoreid import DukeMTMCVideoReID
from unreid.data.datasets.statistics import Counts
from unreid.data.datasets.synthetic import WORLD_SIZE
from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.plan import Plan
from unreid.rendering.video_layouts import dukevideo
from unreid.rendering.writer import read_world, render
from unreid.utils.settings import settings


@DATASETS.register("SyntheticVideo")
class SyntheticVideo(DukeMTMCVideoReID):
    """Procedurally rendered tracklets, read like DukeMTMC-VideoReID.

    The first use renders the world into ``<root>/synthetic-video-<fingerprint>/``; later uses find it there. Persons
    walk from camera to camera at their own pace, look-alikes at the same time: what is mined from overlapping and
    from successive passages is true of this world. :attr:`camera_starts` and :attr:`frame_rate` come from its
    ``world.json``, which also holds the cameras' places (``camera_sites``, metres).

    Args:
        root: folder that holds the dataset folders; created if needed.
        knobs: the world; None: 60 + 60 identities, tracklets of 8 to 16 images.
        strict, dense, dense_step: see :class:`~unreid.data.datasets.dukemtmc_videoreid.DukeMTMCVideoReID`.
        workers: rendering processes; None: one a core.

    Raises:
        UserError: the folder cannot be written.
    """

    name = "SyntheticVideo"
    folders: tuple[str, ...] = ()
    notice = ""

    def __init__(
        self,
        root: str | Path,
        knobs: WorldKnobs | None = None,
        *,
        strict: bool = False,
        dense: bool = False,
        dense_step: int = 32,
        workers: int | None = None,
    ) -> None:
        self.knobs = WorldKnobs(train_ids=60, test_ids=60, images_per_camera=(8, 16)) if knobs is None else knobs
        plan = dukevideo(self.knobs)
        folder = Path(root) / f"synthetic-video-{self.knobs.fingerprint('dukevideo')}"
        render(self.knobs, plan, folder, layout="dukevideo", workers=workers)
        self._planned = _planned_counts(plan)
        world = read_world(folder)
        self.camera_starts = tuple(world["camera_starts"])
        self.frame_rate = world["frame_rate"]
        super().__init__(folder, strict=strict, dense=dense, dense_step=dense_step)

    @classmethod
    def from_config(cls, cfg: Any) -> Self:
        node = cfg.DATASETS.SYNTHETIC_VIDEO
        knobs = WorldKnobs.preset(
            node.PRESET,
            images_per_camera=tuple(node.FRAMES),
            junk=0,  # the layout has none
            **settings(node, "SEED", *WORLD_SIZE),
        )
        dense = cfg.DATASETS.MODE == "dense"
        return cls(
            cfg.DATASETS.ROOT, knobs, strict=cfg.DATASETS.STRICT, dense=dense, dense_step=cfg.DATASETS.DENSE_STEP
        )

    def _expected(self, split: str) -> tuple[Counts, ...]:
        whole = self._planned[split]
        if split != "train" or not self.dense:
            return (whole,)
        return (Counts(whole.ids, None, whole.cameras, whole.images),)


def _planned_counts(plan: Plan) -> dict[str, Counts]:
    found: dict[str, list[tuple[str, int, int]]] = {}
    for roll in plan.rolls:
        for path in roll.targets[0]:
            split, pid, _ = path.split("/", 2)
            found.setdefault(split, []).append((pid, roll.passage.camera, roll.passage.images))
    return {
        split: Counts(
            ids=len({pid for pid, _, _ in rows}),
            tracklets=len(rows),
            cameras=len({camera for _, camera, _ in rows}),
            images=sum(images for _, _, images in rows),
        )
        for split, rows in found.items()
    }
