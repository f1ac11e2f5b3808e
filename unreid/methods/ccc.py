"""3C (arXiv 2408.09464): confidence-guided clustering and contrastive learning.

Its three confidences are a clusterer (HDC, ``CLUSTER.NAME``), loss weights (CIE, the part below) and an update rule of
the memory (CHD, ``MEMORY.UPDATE``); the step is Cluster Contrast's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from unreid.losses.camera_entropy import camera_entropy_weights
from unreid.methods.base import METHODS
from unreid.methods.cluster_contrast import ClusterContrast
from unreid.methods.parts import PARTS, Part, Rows

if TYPE_CHECKING:
    from unreid.config import CfgNode


@PARTS.register("camera_entropy", "cie")
class CameraEntropy(Part):
    """Weighs every sample by the camera information entropy of its cluster in the batch (CIE)."""

    def weights(self, rows: Rows) -> Tensor:
        return camera_entropy_weights(rows.targets, rows.camids)


@METHODS.register("CCC", "3C")
class CCC(ClusterContrast):
    """Cluster Contrast with :class:`CameraEntropy` (``METHOD.CCC.CIE``)."""

    own_parts = ("camera_entropy",)

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> CCC:
        method = super().from_config(cfg, model=model, camids=camids)
        assert isinstance(method, CCC)
        if not cfg.METHOD.CCC.CIE:
            method.parts = [part for part in method.parts if not isinstance(part, CameraEntropy)]
        return method
