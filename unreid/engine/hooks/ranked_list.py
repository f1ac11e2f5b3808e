"""Draws the ranked list of a trained encoder (``TEST.RANKED_LIST``)."""

from __future__ import annotations

import logging

from torch import nn

from unreid.engine.hooks.base import HOOKS, Hook, Run
from unreid.evaluation.evaluator import Evaluator
from unreid.evaluation.ranked_list import draw_neighbours, draw_ranked_list
from unreid.utils.distributed import is_main
from unreid.utils.writing import optional

logger = logging.getLogger(__name__)

RANKED_LIST = "ranked_list.jpg"
UNLABELLED = 2000  # training samples that a list without labels is made of, or so
QUERIES = 8  # where HOOKS names the list and TEST.RANKED_LIST does not say how long it is


@HOOKS.register("RankedList")
class RankedListHook(Hook):
    """``ranked_list.jpg`` when everything else of the run is written: a list that fails costs nothing."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        return cls(run)

    def after_results(self) -> None:
        write_ranked_list(self.run, self.trainer.method.encoder, RANKED_LIST)


def write_ranked_list(run: Run, encoder: nn.Module, name: str) -> None:
    """The file ``name``: queries of the first test set, each with its nearest gallery images.

    Without a test set: training samples with the nearest others, and no frame that says what is right.
    """
    path, rows = run.output_dir / name, run.cfg.TEST.RANKED_LIST or QUERIES
    if not run.data.tests:
        tracklets = run.data.tracklets
        step = max(1, len(tracklets) // UNLABELLED)
        tracklets = tracklets[::step]
        if not tracklets:
            return
        found = run.extraction(encoder, tracklets, run.feature)
        if is_main():
            cameras = len({tracklet.camid for tracklet in tracklets}) > 1
            with optional():
                draw_neighbours(path, tracklets, found.values, rows=rows, cameras=cameras)
                logger.info("ranked list, without labels: %s", path)
        return
    test = run.data.tests[0]
    sides = (test.query, test.gallery)
    query, gallery = (run.extraction(encoder, split.tracklets, run.feature).values for split in sides)
    if run.cfg.TEST.CAMERA_CENTERED:
        query, gallery = Evaluator(*sides).centered(query, gallery)
    if is_main():
        with optional():
            draw_ranked_list(
                path,
                test.query,
                test.gallery,
                query,
                gallery,
                queries=rows,
                filter_same_camera=test.cross_camera_filter,
            )
            logger.info("ranked list: %s", path)
