"""Compares pseudo labels with the truth, for the log only: no method ever sees what this hook sees."""

from __future__ import annotations

import logging

from unreid.engine.hooks.base import HOOKS, Hook, Run
from unreid.evaluation.diagnostics import cluster_report
from unreid.evaluation.ranked_list import cluster_sheet
from unreid.structures import Clustering, GroundTruth, RoundPlan, Tracklet, camids_of
from unreid.utils.distributed import is_main

logger = logging.getLogger(__name__)


@HOOKS.register("Diagnostics")
class DiagnosticsHook(Hook):
    """Purity, NMI, ARI, pair precision and cross-camera recall of every round, and pictures of a few clusters.

    Args:
        truth: identities of the training list, or None where the dataset has none.
        pictures: clusters shown as an image; 0: none.
    """

    def __init__(self, tracklets: list[Tracklet], truth: GroundTruth | None, *, pictures: int) -> None:
        self.tracklets = tracklets
        self.truth = truth
        self.pictures = pictures

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        return cls(run.data.tracklets, run.data.truth, pictures=run.cfg.LOG.CLUSTER_IMAGES)

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        if self.trainer.state.round < 0 or not is_main():
            return
        labels = clustering.labels.numpy()
        line = (
            f"round {self.trainer.state.round}: {clustering.num_clusters} clusters, {clustering.num_outliers} outliers"
        )
        if self.truth is not None:
            report = cluster_report(labels, self.truth.pids, camids_of(self.tracklets))
            self.trainer.storage.put_scalars({f"cluster/{key}": value for key, value in report.items()})
            line += f", pair precision {100 * report['pair_precision']:.0f} %"
            line += f", cross-camera recall {100 * report['cross_camera_recall']:.0f} %"
        logger.info(line)
        if self.pictures and clustering.num_clusters:
            paths = [tracklet.paths[0] for tracklet in self.tracklets]
            self.trainer.storage.put_image("clusters", cluster_sheet(paths, labels, self.pictures))
