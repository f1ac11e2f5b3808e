"""What every method is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from unreid.clustering import Clusterer, build_clusterer
from unreid.models.ema import MeanTeacher
from unreid.neighbors import PairGraphBuilder
from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.config import CfgNode


@dataclass(frozen=True)
class Setup:
    """The network, the training list and what a config says of every method; its keys bear the same names.

    Attributes:
        model: the bare student, on the run's device.
        camids: int64 (N,) over the training list.
        epochs, iters: of the run, and steps of an epoch.

    Raises:
        UserError: ``camera_centered``, and all samples come from one camera.
    """

    model: nn.Module
    camids: Tensor
    epochs: int
    iters: int
    teacher: MeanTeacher | None = None
    clusterer: Clusterer | None = None
    graph_builder: PairGraphBuilder | None = None
    iters_per_cluster: float = -1.0
    cluster_feature: str = "method"
    camera_centered: bool = False
    reset_optimizer: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.camera_centered and bool((self.camids == self.camids[:1]).all()):
            raise UserError(
                f"CLUSTER.CAMERA_CENTERED takes each camera's mean away, and all {len(self.camids)} training samples "
                "count as one camera: name the cameras (DATASETS.FOLDER.CAMERA_REGEX or MANIFEST), or set it False."
            )

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: nn.Module, camids: Tensor) -> Setup:
        return cls(
            model,
            camids,
            epochs=cfg.OPTIM.EPOCHS,
            iters=cfg.DATALOADER.ITERS,
            teacher=MeanTeacher(model, alpha=cfg.MODEL.EMA.ALPHA) if cfg.MODEL.EMA.ENABLED else None,
            clusterer=build_clusterer(cfg),
            graph_builder=PairGraphBuilder.from_config(cfg),
            iters_per_cluster=cfg.DATALOADER.ITERS_CLUSTER_MULTIPLIER,
            cluster_feature=cfg.CLUSTER.FEATURE,
            camera_centered=cfg.CLUSTER.CAMERA_CENTERED,
            reset_optimizer=cfg.OPTIM.RESET_EVERY_ROUND,
            seed=cfg.SEED,
        )
