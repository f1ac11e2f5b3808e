"""CAP (Wang et al., AAAI 2021) and O2CAP (Wang et al., TIP 2022): Cluster Contrast's step on camera proxies.

A cluster is split by camera, and images are compared with these proxies: those of the own cluster in all cameras
attract, the hardest others repel. What differs between the two is which losses are on (``MEMORY.PROXY``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from unreid.memory import ProxyMemory
from unreid.methods.base import METHODS
from unreid.methods.cluster_contrast import ClusterContrast
from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.config import CfgNode


@METHODS.register("O2CAP")
class O2CAP(ClusterContrast):
    """Offline and online associated camera proxies (``MEMORY.NAME: ProxyMemory``, sampler ``proxy``)."""

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> O2CAP:
        method = super().from_config(cfg, model=model, camids=camids)
        assert isinstance(method, O2CAP)
        if not isinstance(method.memory, ProxyMemory):
            raise UserError(
                f"{cfg.METHOD.NAME} learns against camera proxies: set MEMORY.NAME ProxyMemory, or start from "
                "configs/base/o2cap.yml."
            )
        return method


@METHODS.register("CAP")
class CAP(O2CAP):
    """Camera-aware proxies: the intra-camera loss from the start, the inter-camera loss a few rounds later."""

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> CAP:
        method = super().from_config(cfg, model=model, camids=camids)
        assert isinstance(method, CAP) and isinstance(method.memory, ProxyMemory)
        if not method.memory.intra or method.memory.online:
            raise UserError(
                "CAP has the intra-camera loss and no online one: set MEMORY.PROXY.INTRA True and ONLINE False, or "
                "METHOD.NAME O2CAP for other choices."
            )
        return method
