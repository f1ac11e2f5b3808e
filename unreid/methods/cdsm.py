"""CDSM, cluster-aware diversity samples mining (SMC 2022).

A mean teacher labels, updates the memory and is evaluated; clusters of three radii give reliabilities
(``CLUSTER.NAME: AgreementDBSCAN``); the memory keeps a centre and several diverse samples of every cluster
(``MEMORY.NAME: DiversityMemory``). The step is Cluster Contrast's with a teacher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from unreid.methods.base import METHODS
from unreid.methods.cluster_contrast import ClusterContrast
from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.config import CfgNode


@METHODS.register("CDSM")
class CDSM(ClusterContrast):
    """Cluster Contrast with a teacher; the teacher may see a milder view of the image (the paper's figure)."""

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> CDSM:
        if not cfg.MODEL.EMA.ENABLED:
            raise UserError(
                "CDSM learns with a mean teacher: set MODEL.EMA.ENABLED True, or choose another METHOD.NAME."
            )
        method = super().from_config(cfg, model=model, camids=camids)
        assert isinstance(method, CDSM)
        if cfg.METHOD.CDSM.TEACHER_VIEW != "strong":
            method.views = ("strong", cfg.METHOD.CDSM.TEACHER_VIEW)
        return method
