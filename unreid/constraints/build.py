"""The constraints of a run, from its config: what changes its training graph, its clusters and its test distances."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from unreid.constraints.answers import Answers
from unreid.constraints.links import Links
from unreid.constraints.loading import CANNOT_LINK, OVERLAP, SAME_CAMERA, SPATIO_TEMPORAL, find_file, load_relation
from unreid.constraints.modifiers import OVERLAP_PENALTY, Modifier, Penalty, SpatioTemporalFactor
from unreid.constraints.records import Records
from unreid.constraints.relation_file import RelationFile
from unreid.constraints.relations import DenseRelation, Overlap, Plausibility, Relation, SameCamera
from unreid.constraints.review_file import load_answers
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConstraints:
    """What is known about pairs of training tracklets.

    Attributes:
        modifiers: of the pair graph, in order (SCP, then STS).
        links: cannot-links of the clusterer (TOC), or None.
        answers: what a person decided (``CLUSTER.REVIEW``), or None.
    """

    modifiers: tuple[Modifier, ...] = ()
    links: Links | None = None
    answers: Answers | None = None


def train_constraints(cfg: Any, records: Records) -> TrainConstraints | None:
    """What ``CLUSTER.{CCE,STR,ICDBSCAN}_OPTION`` and ``CLUSTER.REVIEW`` ask for; None if nothing.

    Args:
        records: the training list, in its order.

    Raises:
        UserError: a relation is missing, refused, or of other tracklets.
    """
    node = cfg.CLUSTER
    run = _cut(cfg)
    modifiers: list[Modifier] = []
    links = None
    if node.CCE_OPTION:
        relation = _same_camera(cfg, node.CCE_PATH, "CLUSTER.CCE_PATH", records, None, run)
        modifiers.append(Penalty(relation, node.CCE_LAMBDA))
    if node.STR_OPTION:
        path = find_file(cfg.PICKLE_PATH, node.STR_PATH, "CLUSTER.STR_PATH")
        relation = _plausibility(load_relation(path, SPATIO_TEMPORAL, records, run=run))
        modifiers.append(SpatioTemporalFactor(relation, node.STR_LAMBDA, node.STR_GAMMA))
    if node.ICDBSCAN_OPTION:
        path = find_file(cfg.PICKLE_PATH, node.ICDBSCAN_CONSTRAINT_PATH, "CLUSTER.ICDBSCAN_CONSTRAINT_PATH")
        links = load_relation(path, CANNOT_LINK, records, run=run).links
        assert links is not None
        logger.info("%s: %d cannot-links among %d tracklets", path, len(links) // 2, len(records))
        if not links.is_symmetric():
            logger.warning("%s: some pairs are linked in one direction only; they are used as they are", path)
    answers = load_answers(node.REVIEW, records.keys.tolist()) if node.REVIEW else None
    found = TrainConstraints(tuple(modifiers), links, answers)
    return found if modifiers or links is not None or answers is not None else None


def query_gallery_modifiers(cfg: Any, query: Records, gallery: Records) -> list[Modifier]:
    """What ``TEST.{OVERLAP_CONSTRAINT,CCE_OPTION,STR_OPTION}`` ask for, in that order.

    Raises:
        UserError: a relation is missing, refused, or of other tracklets.
    """
    node = cfg.TEST
    modifiers: list[Modifier] = []
    if node.OVERLAP_CONSTRAINT:
        path = find_file(cfg.PICKLE_PATH, node.CONSTRAINT_PATH, "TEST.CONSTRAINT_PATH")
        links = load_relation(path, OVERLAP, query, gallery).links
        assert links is not None
        modifiers.append(Penalty(Overlap(links), OVERLAP_PENALTY))
    if node.CCE_OPTION:
        relation = _same_camera(cfg, node.CCE_PATH, "TEST.CCE_PATH", query, gallery, "")
        modifiers.append(Penalty(relation, node.CCE_LAMBDA))
    if node.STR_OPTION:
        path = find_file(cfg.PICKLE_PATH, node.STR_PATH, "TEST.STR_PATH")
        relation = _plausibility(load_relation(path, SPATIO_TEMPORAL, query, gallery))
        modifiers.append(SpatioTemporalFactor(relation, cfg.CLUSTER.STR_LAMBDA, cfg.CLUSTER.STR_GAMMA))
    return modifiers


def _same_camera(cfg: Any, path: str, key: str, rows: Records, columns: Records | None, run: str) -> Relation:
    """From the file if there is one, else from the cameras of the records: the content is the same."""
    try:
        file = find_file(cfg.PICKLE_PATH, path, key)
    except UserError:
        logger.info("%s: no file, so the cameras of the records are compared", key)
        return SameCamera(rows.camids, (rows if columns is None else columns).camids)
    relation = load_relation(file, SAME_CAMERA, rows, columns, run=run)
    if relation.matrix is not None:
        return DenseRelation(relation.matrix)
    return SameCamera(relation.rows.camids, (relation.rows if columns is None else _columns(relation)).camids)


def _plausibility(relation: RelationFile) -> Relation:
    if relation.matrix is not None:
        return DenseRelation(relation.matrix)
    assert relation.travel is not None
    return Plausibility(relation.rows, _columns(relation), relation.travel)


def _columns(relation: RelationFile) -> Records:
    return relation.rows if relation.columns is None else relation.columns


def _cut(cfg: Any) -> str:
    mode = cfg.DATASETS.MODE
    return f"mode {mode}, dense_step {cfg.DATASETS.DENSE_STEP}" if mode == "dense" else f"mode {mode}"
