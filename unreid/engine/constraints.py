"""Brings the constraints that a config asks for to the records of a run."""

from __future__ import annotations

from unreid.config import CfgNode
from unreid.constraints import (
    Modifier,
    TrainConstraints,
    describe,
    query_gallery_modifiers,
    record_keys,
    train_constraints,
)
from unreid.data.datasets.base import ReIDDataset
from unreid.engine.data import Data


def build_train_constraints(cfg: CfgNode, data: Data) -> TrainConstraints | None:
    """What ``CLUSTER.{CCE,STR,ICDBSCAN}_OPTION`` and ``CLUSTER.REVIEW`` ask for; None if nothing."""
    node = cfg.CLUSTER
    if not (node.CCE_OPTION or node.STR_OPTION or node.ICDBSCAN_OPTION or node.REVIEW):
        return None
    return train_constraints(cfg, describe(data.tracklets, data.keys))


def build_test_modifiers(cfg: CfgNode, dataset: ReIDDataset) -> list[Modifier]:
    """What ``TEST.{OVERLAP_CONSTRAINT,CCE_OPTION,STR_OPTION}`` ask for; nothing is parsed if nothing is asked."""
    if not (cfg.TEST.OVERLAP_CONSTRAINT or cfg.TEST.CCE_OPTION or cfg.TEST.STR_OPTION):
        return []
    sides = (dataset.query.tracklets, dataset.gallery.tracklets)
    query, gallery = (describe(side, record_keys(side, [dataset.folder])) for side in sides)
    return query_gallery_modifiers(cfg, query, gallery)
