"""The distances of this package that ``CLUSTER.METRIC`` names."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unreid.neighbors.builder import CAMERA_JACCARD, JACCARD, METRICS, Metric
from unreid.neighbors.camera_jaccard import camera_jaccard_graph
from unreid.neighbors.camera_lists import CameraLists, camera_lists
from unreid.neighbors.jaccard import jaccard_graph, list_width
from unreid.neighbors.metric import metric_graph
from unreid.structures import PairGraph
from unreid.utils.errors import UserError


@METRICS.register(JACCARD)
class Jaccard(Metric):
    """k-reciprocal Jaccard distance (Zhong et al., CVPR 2017)."""

    shared = True

    def _common(self) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in ("k1", "k2", "tol", "backend", "knn_backend")}

    def lists(self, features: Tensor, camids: Tensor | None, round: int) -> Any:
        width = list_width(self.settings.k1, self.settings.k1_includes_self)
        return self.settings.search_share(features, width, self.share)

    def graph(self, features: Tensor, radius: float, camids: Tensor | None, round: int, lists: Any) -> PairGraph:
        own = {"k1_includes_self": self.settings.k1_includes_self, "neighbors": lists}
        return jaccard_graph(features, radius=radius, share=self.share, **own, **self._common())


@METRICS.register(CAMERA_JACCARD)
class CameraJaccard(Jaccard):
    """Jaccard distance with neighbours of the own and of other cameras kept apart (Chen et al., CVPR 2024)."""

    def lists(self, features: Tensor, camids: Tensor | None, round: int) -> Any:
        widths, queries = self.settings.cameras.at(round).widths, self.share.rows(len(features), features.device)
        part = camera_lists(features, _known(camids), *widths, queries=queries, backend=self.settings.knn_backend)
        return CameraLists(*(self.share.join(getattr(part, name)) for name in CameraLists.__dataclass_fields__))

    def graph(self, features: Tensor, radius: float, camids: Tensor | None, round: int, lists: Any) -> PairGraph:
        sizes = {name: value for name, value in vars(self.settings.cameras.at(round)).items() if name != "k2_first"}
        return camera_jaccard_graph(
            features, _known(camids), radius=radius, lists=lists, share=self.share, **sizes, **self._common()
        )


@METRICS.register("euclidean")
class Euclidean(Metric):
    """Euclidean distance of the features."""

    name = "euclidean"

    def graph(self, features: Tensor, radius: float, camids: Tensor | None, round: int, lists: None) -> PairGraph:
        return metric_graph(features, metric=self.name, radius=radius, tol=self.settings.tol)


@METRICS.register("cosine")
class Cosine(Euclidean):
    """Cosine distance of the features, 1 - cos."""

    name = "cosine"


def _known(camids: Tensor | None) -> Tensor:
    if camids is None:
        raise UserError("CLUSTER.METRIC ca_jaccard needs the camera of every sample (camids).")
    return camids
