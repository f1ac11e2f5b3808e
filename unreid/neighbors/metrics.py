"""The distances of this package that ``CLUSTER.METRIC`` names."""

from __future__ import annotations

from torch import Tensor

from unreid.neighbors.builder import CAMERA_JACCARD, JACCARD, METRICS, Metric
from unreid.neighbors.camera_jaccard import camera_jaccard_graph
from unreid.neighbors.camera_lists import CameraLists, camera_lists
from unreid.neighbors.jaccard import jaccard_graph, list_width
from unreid.neighbors.metric import metric_graph
from unreid.structures import PairGraph
from unreid.utils.errors import UserError

Lists = tuple[Tensor, Tensor]


@METRICS.register(JACCARD)
class Jaccard(Metric):
    """k-reciprocal Jaccard distance (Zhong et al., CVPR 2017)."""

    shared = True

    def lists(self, features: Tensor, camids: Tensor | None, round: int) -> Lists:
        width = list_width(self.settings.k1, self.settings.k1_includes_self)
        return self.settings.search_share(features, width, self.share)

    def graph(
        self, features: Tensor, radius: float, camids: Tensor | None, round: int, lists: Lists | None
    ) -> PairGraph:
        built = self.settings
        return jaccard_graph(
            features,
            k1=built.k1,
            k2=built.k2,
            k1_includes_self=built.k1_includes_self,
            radius=radius,
            tol=built.tol,
            backend=built.backend,
            neighbors=lists,
            knn_backend=built.knn_backend,
            share=self.share,
        )


@METRICS.register(CAMERA_JACCARD)
class CameraJaccard(Metric):
    """Jaccard distance with neighbours of the own and of other cameras kept apart (Chen et al., CVPR 2024)."""

    shared = True

    def lists(self, features: Tensor, camids: Tensor | None, round: int) -> CameraLists:
        widths, queries = self.settings.cameras.at(round).widths, self.share.rows(len(features), features.device)
        part = camera_lists(features, _known(camids), *widths, queries=queries, backend=self.settings.knn_backend)
        return CameraLists(*(self.share.join(getattr(part, name)) for name in CameraLists.__dataclass_fields__))

    def graph(
        self, features: Tensor, radius: float, camids: Tensor | None, round: int, lists: CameraLists | None
    ) -> PairGraph:
        built, cameras = self.settings, self.settings.cameras.at(round)
        return camera_jaccard_graph(
            features,
            _known(camids),
            k1_intra=cameras.k1_intra,
            k1_inter=cameras.k1_inter,
            k2_intra=cameras.k2_intra,
            k2_inter=cameras.k2_inter,
            ckrnn=cameras.ckrnn,
            clqe=cameras.clqe,
            k1=built.k1,
            k2=built.k2,
            radius=radius,
            tol=built.tol,
            backend=built.backend,
            lists=lists,
            knn_backend=built.knn_backend,
            share=self.share,
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
