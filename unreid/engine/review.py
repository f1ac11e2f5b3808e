"""What ``unreid review`` shows: the training list of a finished run, or a table of identities with its features."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import torch

from unreid.config import CfgNode, load_config
from unreid.constraints import load_pseudo_labels
from unreid.engine.build import build_model
from unreid.engine.checkpoint import load_model
from unreid.engine.data import Data, Extraction, build_data
from unreid.engine.folder import CHECKPOINT
from unreid.engine.preflight import check_datasets
from unreid.methods import METHODS
from unreid.review import CropSet
from unreid.utils.errors import UserError
from unreid.utils.job import choose_device
from unreid.utils.plugins import import_installed, import_plugins
from unreid.utils.writing import optional
from unreid.workbench import FeatureMeta, FeatureTable, read_features, read_identities, write_features

logger = logging.getLogger(__name__)

LABELS, CONFIG, FEATURES = "pseudo_labels.npz", "config.yaml", "review_features.npz"


def crops_of_run(folder: Path, overrides: list[str]) -> CropSet:
    """The training list of a run, with the labels of its last round and the features of its newest checkpoint.

    The features are kept in the folder for the next time.

    Args:
        overrides: KEY VALUE pairs over the run's config, such as where the data are on this machine.
    """
    cfg = load_config(str(folder / CONFIG), overrides)
    import_installed()
    import_plugins(cfg.PLUGINS)
    check_datasets(cfg)
    data = build_data(cfg)
    labels, _ = load_pseudo_labels(folder / LABELS, data.keys)
    features = _features_of_run(cfg, folder, data)
    roots = {path.removesuffix(key) for path, key in zip((t.paths[0] for t in data.tracklets), data.keys)}
    return CropSet(
        data.keys,
        [tracklet.paths[len(tracklet.paths) // 2] for tracklet in data.tracklets],
        [str(tracklet.camid + 1) for tracklet in data.tracklets],
        labels,
        features,
        roots.pop().rstrip("/") if len(roots) == 1 else "",
        os.path.abspath(folder / FEATURES),
    )


def _features_of_run(cfg: CfgNode, folder: Path, data: Data) -> np.ndarray:
    stored, checkpoint = folder / FEATURES, folder / CHECKPOINT
    fingerprint = _fingerprint(checkpoint, cfg)
    try:
        table = read_features(stored) if stored.is_file() else None
    except UserError as error:
        logger.warning("%s They are extracted again.", error)
        table = None
    if table is not None and table.meta.fingerprint == fingerprint and table.paths == data.keys:
        return table.vectors
    device = choose_device(cfg.MODEL.DEVICE if torch.cuda.is_available() else "cpu")
    model = build_model(cfg, device, len(data.tracklets), pretrained=False)
    load_model(str(checkpoint), model)
    feature = METHODS.get(cfg.METHOD.NAME).retrieval_feature
    logger.info("extracting the features of %d samples", len(data.tracklets))
    values = Extraction(cfg, device)(model, data.tracklets, feature).values.float().cpu().numpy()
    cameras = [str(tracklet.camid + 1) for tracklet in data.tracklets]
    meta = FeatureMeta(str(folder), str(checkpoint), fingerprint, feature)
    with optional("They will be extracted anew the next time."):
        write_features(stored, FeatureTable(data.keys, cameras, values, meta))
    return values


def crops_of_table(identities: Path, features: Path | None) -> CropSet:
    """A table of identities with the vectors of a feature table; images without a vector are left out.

    Args:
        features: None: the table that the identities were made from.
    """
    table = read_identities(identities)
    if features is None:
        named = table.meta.get("features")
        if not named:
            raise UserError(f"{identities} does not say which features it was made from: name them with --features.")
        features = Path(str(named))
        if not features.is_absolute() and not features.is_file():
            features = identities.parent / features
    vectors = read_features(features)
    row = {path: number for number, path in enumerate(vectors.paths)}
    kept = [number for number, path in enumerate(table.paths) if path in row]
    if not kept:
        raise UserError(f"{features} has no vector of any image of {identities}: name the right table with --features.")
    if len(kept) < len(table):
        logger.warning(
            "%d of %d images have no vector in %s and are left out", len(table) - len(kept), len(table), features
        )
    labels = _labels([table.pids[number] for number in kept], table.labels)
    root = str(table.meta.get("root") or vectors.meta.root)
    paths = [table.paths[number] for number in kept]
    return CropSet(
        paths,
        [os.path.join(root, path) for path in paths],
        [table.cameras[number] for number in kept],
        labels,
        vectors.vectors[[row[path] for path in paths]],
        root,
        os.path.abspath(features),
    )


def _labels(pids: list[str], known: tuple[np.ndarray, list[str]]) -> np.ndarray:
    """Identities that are numbers keep them; others, and numbers of which two are spelt differently, are numbered."""
    if all(pid == "-1" or (pid.isascii() and pid.isdecimal() and len(pid) < 10) for pid in pids):
        values = np.array([int(pid) for pid in pids], dtype=np.int64)
        if len(np.unique(values)) == len(set(pids)):
            return values
    numbers = {pid: number for number, pid in enumerate(known[1])}
    return np.array([numbers.get(pid, -1) for pid in pids], dtype=np.int64)


def _fingerprint(checkpoint: Path, cfg: CfgNode) -> str:
    """Of everything that the features depend on, the list of crops aside."""
    found = hashlib.blake2b(digest_size=16)
    for node in (cfg.MODEL, cfg.INPUT, cfg.TEST, cfg.DATALOADER):
        found.update(node.dump().encode())
    with checkpoint.open("rb") as file:
        found.update(hashlib.file_digest(file, "blake2b").digest())
    return found.hexdigest()
