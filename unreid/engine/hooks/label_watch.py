"""Warns while labels mislead the training: clusters of one camera each, a falling score, most samples left out."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from unreid.engine.hooks.base import HOOKS, Hook, Run
from unreid.engine.outliers import explain_outliers
from unreid.evaluation.label_signs import CameraSigns, camera_signs, falls, separates_cameras
from unreid.evaluation.selection import label_free_score
from unreid.neighbors.builder import CAMERA_JACCARD
from unreid.structures import Clustering, RoundPlan, camids_of
from unreid.utils.distributed import is_main
from unreid.utils.state import entries, require_labels

logger = logging.getLogger(__name__)

MOST = 0.75  # share of outliers that is explained
EXPLAINED = 3  # rounds whose outliers are explained; then it is known
SCORED = 20_000  # samples whose silhouette stands for all


@HOOKS.register("LabelWatch")
class LabelWatchHook(Hook):
    """Notes ``cluster/one_camera``, ``cluster/one_camera_chance`` and ``cluster/label_free`` and says what is wrong.

    Reads labels, features and cameras, never an identity. Three rules, each a function of its own:

    - clusters that hold one camera each where chance would mix them (``separates_cameras``);
    - a label-free score that falls for three rounds, below four fifths of its best (``falls``);
    - three quarters of the samples or more are outliers: why, and what to set (``explain_outliers``).

    Args:
        camids: int64 (N,), cameras of the training list.
    """

    def __init__(self, camids: Tensor) -> None:
        self.camids = camids
        self.scores: list[float] = []
        self.explained = 0
        self._previous: Tensor | None = None

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        return cls(torch.from_numpy(camids_of(run.data.tracklets)))

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        if self.trainer.state.round < 0:
            return
        if is_main():
            self._look_at_cameras(clustering)
            self._look_at_score(clustering)
            self._look_at_outliers(clustering)
        self._previous = clustering.labels

    def _look_at_cameras(self, clustering: Clustering) -> None:
        if bool((self.camids == self.camids[:1]).all()):
            return
        signs = camera_signs(clustering.labels, self.camids)
        figures = {"cluster/one_camera": signs.single, "cluster/one_camera_chance": signs.chance}
        self.trainer.storage.put_scalars(figures)
        # A bottom-up partition (BUC) begins with the nearest pairs, which share a camera, and grows out of that.
        if separates_cameras(signs) and self.trainer.method.clusterer is not None:
            logger.warning("round %d: %s %s", self.trainer.state.round, camera_sentence(signs), self._camera_advice())

    def _camera_advice(self) -> str:
        method = self.trainer.method
        builder = method.graph_builder
        ways = [] if method.camera_centered else ["CLUSTER.CAMERA_CENTERED True"]
        if builder is not None and builder.metric != CAMERA_JACCARD:
            ways.append("CLUSTER.METRIC ca_jaccard")
        if not ways:
            return "Compare other recipes with unreid tune, or attract across cameras with METHOD.NAME O2CAP."
        return f"Set {' or '.join(ways)}, or compare recipes with unreid tune."

    def _look_at_score(self, clustering: Clustering) -> None:
        score = self.trainer.storage.noted("select/label_free")
        if score is None and clustering.features is not None:
            features = self.trainer.method.centered(clustering.features)
            score = sampled_score(features, clustering.labels, self._previous)
        if score is None:
            return
        self.trainer.storage.put_scalar("cluster/label_free", score)
        self.scores.append(score)
        if falls(self.scores):
            best = max(self.scores)
            logger.warning(
                "round %d: the label-free score has fallen to %.3f, from %.3f in its best round: the labels get worse "
                "while the network trains. Lower OPTIM.LR, stop earlier (TEST.SELECT label_free keeps the best round), "
                "or compare recipes with unreid tune.",
                self.trainer.state.round,
                score,
                best,
            )

    def _look_at_outliers(self, clustering: Clustering) -> None:
        if clustering.num_outliers < MOST * len(clustering.labels) or self.explained >= EXPLAINED:
            return
        self.explained += 1
        round = self.trainer.state.round
        logger.warning("round %d: %s", round, explain_outliers(self.trainer.method, clustering, round))

    def state_dict(self) -> dict[str, Any]:
        return {"scores": self.scores, "explained": self.explained, "labels": self._previous}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        kinds: dict[str, Any] = {"scores": list, "explained": int, "labels": (Tensor, type(None))}
        entries(state, "the state of LabelWatch", kinds)
        require_labels(state["labels"], "'labels' of LabelWatch", len(self.camids))
        self.scores, self.explained = list(state["scores"]), state["explained"]
        self._previous = state["labels"]


def camera_sentence(signs: CameraSigns) -> str:
    """The figures of clusters that hold one camera each."""
    return (
        f"{signs.single:.0%} of {signs.clusters:,} clusters hold images of one camera, where the cameras' sizes would "
        f"give {signs.chance:.0%} by chance: training on them pushes the cameras apart."
    )


def sampled_score(features: Tensor, labels: Tensor, previous: Tensor | None) -> float:
    """The label-free score, its silhouette from every k-th sample where there are many."""
    if previous is None or len(labels) <= SCORED:
        return label_free_score(features, labels, previous)
    some = slice(None, None, -(-len(labels) // SCORED))
    agreement = label_free_score(features[some], labels, previous, criterion="stability")
    return agreement * label_free_score(features[some], labels[some], None, criterion="silhouette")
