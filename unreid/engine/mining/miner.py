"""Relations of a dataset's tracklets, written for ``PICKLE_PATH``."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import unreid
from unreid.config import CfgNode
from unreid.constraints import (
    Records,
    RelationFile,
    TravelTable,
    describe,
    learn_travel,
    load_pseudo_labels,
    mine_overlaps,
    passes_of_clusters,
    record_keys,
    save_relation,
    shared_tracks,
    travel_from_times,
)
from unreid.constraints.loading import CANNOT_LINK, OVERLAP, SAME_CAMERA, SPATIO_TEMPORAL
from unreid.constraints.picture import draw_travel
from unreid.data.datasets.base import ReIDDataset
from unreid.engine.data import read_datasets
from unreid.engine.mining.options import Mining, parse_pair
from unreid.engine.mining.report import log_links, log_travel
from unreid.utils.errors import UserError
from unreid.utils.progress import task
from unreid.utils.text import read_text
from unreid.utils.writing import optional

logger = logging.getLogger(__name__)

SECOND_STAGE = (
    "STS needs walking times, which are learnt from the pseudo labels of a run. Train once without it "
    "(CLUSTER.STR_OPTION False TEST.STR_OPTION False), then mine again with "
    "--sts-from <OUTPUT_DIR of that run>/pseudo_labels.npz."
)


@dataclass
class _Job:
    """One dataset side by side with its file names."""

    cfg: CfgNode
    options: Mining
    meta: dict[str, Any] = field(default_factory=dict)

    def path(self, key: str) -> Path:
        """``PICKLE_PATH`` and the stem that a config key names."""
        node = self.cfg.CLUSTER if key.startswith("CLUSTER.") else self.cfg.TEST
        name = getattr(node, key.partition(".")[2]) or DEFAULT_STEMS[key]
        return (Path(self.cfg.PICKLE_PATH) / name).with_suffix(".npz")

    def save(self, key: str, kind: str, relation: RelationFile) -> Path:
        path = self.path(key)
        save_relation(path, replace(relation, meta={**self.meta, "kind": kind, **relation.meta}))
        logger.info("wrote %s (%.1f kB)", path, path.stat().st_size / 1000)
        return path


DEFAULT_STEMS = {
    "CLUSTER.ICDBSCAN_CONSTRAINT_PATH": "cannotlink_pts",
    "CLUSTER.STR_PATH": "spatio_temporal_relation_train",
    "CLUSTER.CCE_PATH": "cross_camera_relation_train",
    "TEST.CONSTRAINT_PATH": "overlap_relation",
    "TEST.STR_PATH": "spatio_temporal_relation_infer",
    "TEST.CCE_PATH": "cross_camera_relation_infer",
}


def mine(cfg: CfgNode, options: Mining) -> list[Path]:
    """Derives and writes every relation that the dataset of ``cfg`` allows.

    Returns:
        The files written.

    Raises:
        UserError: several datasets, unknown cameras, a source that cannot be used, or nothing to learn from.
    """
    _check_source(options)
    train, test = mining_datasets(cfg)
    job = _Job(cfg, options, _meta(train, cfg))
    logger.info("reading the tracklets of %s in %s", train.name, train.folder)
    records = describe(train.train.tracklets, record_keys(train.train.tracklets, [train.folder]), train.camera_starts)
    sides = _test_records(test) if test.has_test else None
    has_time = records.has_time and (sides is None or sides[0].has_time)
    reason = (
        f"{train.name}: file names hold no time on a clock that the cameras share, so TOC and STS cannot be mined; "
        "only the same-camera relations (SCP) are."
    )
    if options.sts_from and not has_time:
        raise UserError(reason)
    # Before the first file is written: what is asked for may not be there to be learnt.
    learnt = _travel(job, train, records) if options.sts_from else None
    written = [job.save("CLUSTER.CCE_PATH", SAME_CAMERA, RelationFile({}, records, None))]
    if sides is not None:
        written.append(job.save("TEST.CCE_PATH", SAME_CAMERA, RelationFile({}, *sides)))
    if not has_time:
        logger.warning(reason)
        return written
    written += _mine_overlaps(job, records, sides)
    if learnt is not None:
        written += _save_travel(job, train, records, sides, *learnt)
    else:
        logger.info(SECOND_STAGE)
    return written


def _check_source(options: Mining) -> None:
    """Refuses a source of walking times before anything is written: the other relations come first."""
    source = options.sts_from
    if source == "identity" and not options.allow_labels:
        raise UserError(
            "--sts-from identity reads identity labels, so what uses it is no longer unsupervised: add "
            "--allow-labels if you mean it, or give the pseudo_labels.npz of a run."
        )
    if source not in ("", "identity") and not os.path.isfile(source):
        raise UserError(f"--sts-from {source}: there is no such file.")


# ------------------------------------------------------------------------------------------------ the relations


def _mine_overlaps(job: _Job, records: Records, sides: tuple[Records, Records] | None) -> list[Path]:
    options = job.options
    least, exclude = options.min_overlap, options.exclude_pairs
    meta = {"parameters": {"min_overlap": options.min_overlap, "level": options.level}}
    meta["parameters"]["exclude_pairs"] = [[a + 1, b + 1] for a, b in options.exclude_pairs]
    with task("overlaps of the training tracklets"):
        links = mine_overlaps(records, level=options.level, min_overlap=least, exclude=exclude)
    log_links("training", records, records, links)
    written = [
        job.save("CLUSTER.ICDBSCAN_CONSTRAINT_PATH", CANNOT_LINK, RelationFile(meta, records, None, links=links))
    ]
    if sides is not None:
        with task("overlaps of query and gallery"):
            links = mine_overlaps(*sides, min_overlap=least, exclude=exclude)
        log_links("query x gallery", *sides, links)
        written.append(job.save("TEST.CONSTRAINT_PATH", OVERLAP, RelationFile(meta, *sides, links=links)))
    return written


def _save_travel(
    job: _Job,
    train: ReIDDataset,
    records: Records,
    sides: tuple[Records, Records] | None,
    travel: TravelTable,
    examples: np.ndarray | None,
    source: str,
) -> list[Path]:
    meta = {"source": source, "supervised": job.options.sts_from == "identity"}
    parameters = {"bin": job.options.bin, "max_lag": job.options.max_lag, "min_count": job.options.min_count}
    meta["parameters"] = parameters
    log_travel(travel, examples, train.frame_rate)
    written = [job.save("CLUSTER.STR_PATH", SPATIO_TEMPORAL, RelationFile(meta, records, None, travel=travel))]
    if sides is not None:
        written.append(job.save("TEST.STR_PATH", SPATIO_TEMPORAL, RelationFile(meta, *sides, travel=travel)))
    picture = written[0].with_suffix(".png")
    with optional("The relations are complete without it."):
        draw_travel(picture, travel, examples, train.frame_rate)
        logger.info("picture of the walking times: %s", picture)
        written.append(picture)
    return written


def _travel(job: _Job, train: ReIDDataset, records: Records) -> tuple[TravelTable, np.ndarray | None, str]:
    """The table, the examples behind it (None if it was given), and where it comes from."""
    options = job.options
    cameras = max(int(records.camids.max()) + 1, len(train.camera_starts or ()))
    bins, lags, unknown = options.bin, options.max_lag, options.unknown
    if options.sts_from.endswith(".json"):
        times = _read_times(Path(options.sts_from), cameras)
        rate = train.frame_rate or 1.0
        table = travel_from_times(times, cameras, rate, bin=bins, max_lag=lags, unknown=unknown)
        return table, None, options.sts_from
    if options.sts_from == "identity":
        labels, source = train.train.truth.pids, "identity"
        logger.warning("walking times are learnt WITH identity labels; the files say so")
    else:
        labels, found = load_pseudo_labels(options.sts_from, records.keys.tolist())
        source = f"{options.sts_from} ({found.get('method')}, epoch {found.get('epoch')})"
        if found.get("sts"):
            logger.warning("%s comes from a run with STS: it confirms what it was told", options.sts_from)
    pairs = passes_of_clusters(records, labels)
    try:
        with task("walking times"):
            travel, examples = learn_travel(
                *pairs, cameras, bin=bins, max_lag=lags, min_count=options.min_count, unknown=unknown
            )
    except ValueError as error:
        raise UserError(f"{options.sts_from} is too little to learn walking times from: {error}.") from None
    return travel, examples, source


def _read_times(path: Path, cameras: int) -> dict[tuple[int, int], tuple[float, float]]:
    """``{"1-5": [mean, std]}`` in seconds, cameras from 1."""
    try:
        content = json.loads(read_text(path))
        times = {parse_pair(name): (float(mean), float(std)) for name, (mean, std) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f'{path} must hold walking times like {{"1-5": [mean_s, std_s]}} ({error}).') from None
    for (a, b), (_, std) in times.items():
        if max(a, b) >= cameras or std <= 0:
            raise UserError(f"{path}: {a + 1}-{b + 1} must name two of {cameras} cameras and a deviation above 0.")
    return times


# ------------------------------------------------------------------------------------------------ the records


def mining_datasets(cfg: CfgNode) -> tuple[ReIDDataset, ReIDDataset]:
    """The training and the test set of a config, which may be one."""
    names, tests = list(cfg.DATASETS.NAMES), list(cfg.DATASETS.TESTS or cfg.DATASETS.NAMES)
    if len(names) != 1 or len(tests) != 1:
        raise UserError(f"Relations are mined for one dataset at a time, not for {', '.join([*names, *tests])}.")
    found = read_datasets(cfg)
    (train,), (test,) = found.train, found.tests
    if not train.has_cameras:
        raise UserError(f"{train.name} has no camera labels, so there is nothing to mine.")
    return train, test


def _test_records(dataset: ReIDDataset) -> tuple[Records, Records]:
    splits = dataset.query.tracklets, dataset.gallery.tracklets
    keys = [record_keys(tracklets, [dataset.folder]) for tracklets in splits]
    tracks = shared_tracks(*keys)
    query, gallery = (describe(splits[k], keys[k], dataset.camera_starts, tracks[k]) for k in (0, 1))
    return query, gallery


def _meta(dataset: ReIDDataset, cfg: CfgNode) -> dict[str, Any]:
    meta = {"dataset": dataset.name, "mode": cfg.DATASETS.MODE, "unreid": unreid.__version__, "supervised": False}
    if cfg.DATASETS.MODE == "dense":
        meta["dense_step"] = cfg.DATASETS.DENSE_STEP
    return meta
