"""unreid: one engine for unsupervised object re-identification.

Importing the package loads nothing, PyTorch included; every name below loads its room on first use. The rooms hold the
rest: ``unreid.losses``, ``unreid.evaluation``, ``unreid.data`` and so on. See ``docs/library.md``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unreid.clustering import (
        CLUSTERERS,
        DBSCAN,
        HDC,
        AgreementDBSCAN,
        BottomUp,
        ConstrainedDBSCAN,
        Infomap,
        KMeans,
        PerCameraDBSCAN,
        SelfPacedDBSCAN,
        SklearnClusterer,
    )
    from unreid.config import load_config
    from unreid.constraints import Links
    from unreid.data.datasets import DATASETS
    from unreid.data.samplers import (
        SAMPLERS,
        IdentitySampler,
        MultiCameraSampler,
        NoCameraSampler,
        ProxySampler,
        ShuffleSampler,
    )
    from unreid.engine.run import evaluate, train
    from unreid.engine.trainer import Trainer
    from unreid.evaluation import FeatureExtractor, cluster_report, cmc_map, pairwise_distance, rerank_features
    from unreid.losses import (
        LOSSES,
        camera_entropy_weights,
        label_preserving_loss,
        smoothed_cross_entropy,
        soft_entropy,
        support_samples,
    )
    from unreid.memory import MEMORIES, ClusterMemory, DiversityMemory, ExclusiveTable, HybridMemory, ProxyMemory
    from unreid.methods import METHODS
    from unreid.methods.parts import PARTS
    from unreid.models import BACKBONES, EmbeddingModel, MeanTeacher
    from unreid.neighbors import camera_centered, camera_jaccard_graph, jaccard_distance, jaccard_graph, knn
    from unreid.structures import Clustering, PairGraph

__version__ = "0.1.0"

__all__ = [
    "BACKBONES",
    "CLUSTERERS",
    "DATASETS",
    "DBSCAN",
    "HDC",
    "LOSSES",
    "MEMORIES",
    "METHODS",
    "PARTS",
    "SAMPLERS",
    "AgreementDBSCAN",
    "BottomUp",
    "ClusterMemory",
    "Clustering",
    "ConstrainedDBSCAN",
    "DiversityMemory",
    "EmbeddingModel",
    "ExclusiveTable",
    "FeatureExtractor",
    "HybridMemory",
    "IdentitySampler",
    "Infomap",
    "KMeans",
    "Links",
    "MeanTeacher",
    "MultiCameraSampler",
    "NoCameraSampler",
    "PairGraph",
    "PerCameraDBSCAN",
    "ProxyMemory",
    "ProxySampler",
    "SelfPacedDBSCAN",
    "ShuffleSampler",
    "SklearnClusterer",
    "Trainer",
    "camera_centered",
    "camera_entropy_weights",
    "camera_jaccard_graph",
    "cluster_report",
    "cmc_map",
    "evaluate",
    "jaccard_distance",
    "jaccard_graph",
    "knn",
    "label_preserving_loss",
    "load_config",
    "pairwise_distance",
    "rerank_features",
    "smoothed_cross_entropy",
    "soft_entropy",
    "support_samples",
    "train",
]

_HOMES = {
    "unreid.clustering": "CLUSTERERS DBSCAN HDC AgreementDBSCAN BottomUp ConstrainedDBSCAN Infomap KMeans "
    "PerCameraDBSCAN SelfPacedDBSCAN SklearnClusterer",
    "unreid.config": "load_config",
    "unreid.constraints": "Links",
    "unreid.data.datasets": "DATASETS",
    "unreid.data.samplers": "SAMPLERS IdentitySampler MultiCameraSampler NoCameraSampler ProxySampler ShuffleSampler",
    "unreid.engine.run": "evaluate train",
    "unreid.engine.trainer": "Trainer",
    "unreid.evaluation": "FeatureExtractor cluster_report cmc_map pairwise_distance rerank_features",
    "unreid.losses": "LOSSES camera_entropy_weights label_preserving_loss smoothed_cross_entropy soft_entropy "
    "support_samples",
    "unreid.memory": "MEMORIES ClusterMemory DiversityMemory ExclusiveTable HybridMemory ProxyMemory",
    "unreid.methods": "METHODS",
    "unreid.methods.parts": "PARTS",
    "unreid.models": "BACKBONES EmbeddingModel MeanTeacher",
    "unreid.neighbors": "camera_centered camera_jaccard_graph jaccard_distance jaccard_graph knn",
    "unreid.structures": "Clustering PairGraph",
}
_ROOMS = (
    *("clustering", "config", "constraints", "data", "engine", "evaluation", "losses", "memory"),
    *("methods", "models", "neighbors", "rendering", "structures", "utils"),
)


def __getattr__(name: str) -> Any:
    import importlib

    from unreid.utils.lazy import load

    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    return load(__name__, {name: home for home, names in _HOMES.items() for name in names.split()}, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
