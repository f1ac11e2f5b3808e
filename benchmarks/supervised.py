"""A plugin that trains WITH labels: the upper bound of the rendered benchmark, and a stand-in for ImageNet weights.

As an upper bound (true identities as clusters, otherwise the same network, loss and schedule)::

    python tools/main.py --config-file configs/ClusterContrast_synthetic.yml PLUGINS benchmarks/supervised.py \
        METHOD.NAME Supervised WARMUP.EPOCHS 0 OPTIM.EPOCHS 20 OUTPUT_DIR logs/supervised

As a source of transfer: trained on another world, then adapted without labels to the default one::

    python tools/main.py --config-file configs/ClusterContrast_synthetic.yml PLUGINS benchmarks/supervised.py \
        METHOD.NAME Supervised WARMUP.EPOCHS 0 OPTIM.EPOCHS 6 DATASETS.SYNTHETIC.SEED 1000 OUTPUT_DIR logs/source
    python tools/main.py --config-file configs/ClusterContrast_synthetic.yml WARMUP.EPOCHS 0 OPTIM.EPOCHS 20 \
        MODEL.INIT_PATH logs/source/checkpoint.pth OUTPUT_DIR logs/adapted

It is no method of the package, because methods of the package never see an identity.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unreid.config import CfgNode
from unreid.data.datasets import build_dataset, train_view
from unreid.methods import METHODS, ClusterContrast
from unreid.methods.base import Extract
from unreid.structures import Clustering


@METHODS.register("Supervised")
class Supervised(ClusterContrast):
    """Cluster Contrast whose clusters are the true identities."""

    pids: Any = None

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: Any, camids: Tensor) -> Supervised:
        method = super().from_config(cfg, model=model, camids=camids)
        assert isinstance(method, Supervised)
        datasets = [build_dataset(name, cfg) for name in cfg.DATASETS.NAMES]
        method.pids = train_view(datasets, seed=cfg.SEED).truth.pids  # the same permutation as the training list
        return method

    def label(self, round: int, extract: Extract) -> Clustering:
        clustering = Clustering.from_labels(self.pids)
        clustering.features = extract(self.cluster_feature)
        return clustering
