"""The features that a sweep clusters: of a config's data and network, or from a file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unreid.config import CfgNode
from unreid.engine.build import assemble, unlabelled_batches
from unreid.engine.checkpoint import load_model
from unreid.engine.run import resume_path, with_its_network
from unreid.methods import METHODS
from unreid.methods.base import CLUSTER_FEATURES
from unreid.models.batch_norm import recalibrate_bn
from unreid.structures import camids_of
from unreid.utils.arrays import as_features, as_ids
from unreid.utils.errors import UserError
from unreid.utils.job import init_from_env
from unreid.utils.npz import ArraysError, read_arrays

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """N samples.

    Attributes:
        features: float32 (N, D).
        camids: int64 (N,), or None where there is one camera or none.
        pids: (N,), or None where identities are unknown; for a comparison afterwards only.
    """

    features: Tensor
    camids: Tensor | None
    pids: np.ndarray | None


def from_file(path: str, *, normalize: bool = True) -> Source:
    """``features`` (N, D), and where they are there ``camids`` and ``pids`` (N,), of an ``.npz`` file.

    Args:
        normalize: L2-normalise the features, which Jaccard's weights expect.

    Raises:
        UserError: no such file, damaged, or arrays of other shapes.
    """
    try:
        arrays = read_arrays(path)
    except ArraysError as error:
        raise UserError(f"--features {path} is no .npz file of plain arrays: {error}.") from None
    if "features" not in arrays:
        raise UserError(f"--features {path} holds no array 'features'; it holds {', '.join(sorted(arrays)) or 'none'}.")
    features = as_features(arrays["features"])
    for name in ("camids", "pids"):
        if name in arrays and arrays[name].shape != (len(features),):
            raise UserError(f"--features {path}: {name} must be of shape ({len(features)},), not {arrays[name].shape}.")
    cameras = None
    if "camids" in arrays:
        cameras = as_ids(arrays["camids"], "camids")
    if normalize:
        features = torch.nn.functional.normalize(features, dim=1)
    return Source(features, _several(cameras), arrays.get("pids"))


def from_config(cfg: CfgNode) -> Source:
    """What the method of ``cfg`` would cluster in its first round, or after ``RESUME``."""
    device = init_from_env(cfg.MODEL.DEVICE)
    checkpoint = resume_path(cfg)
    cfg = with_its_network(cfg, checkpoint or cfg.MODEL.INIT_PATH)
    run = assemble(cfg, Path(cfg.OUTPUT_DIR), device, train=True, loaded=bool(checkpoint))
    if checkpoint:
        load_model(checkpoint, run.model)
    elif cfg.WARMUP.EPOCHS:
        logger.warning(
            "the run begins with a warm-up of %d epochs (WARMUP.EPOCHS), and these are the features before it: train "
            "it first and give its checkpoint (RESUME) for a choice that fits",
            cfg.WARMUP.EPOCHS,
        )
    if cfg.MODEL.RECALIBRATE_BN and not checkpoint:
        recalibrate_bn(run.model, unlabelled_batches(run, cfg.MODEL.RECALIBRATE_BN))
    feature = CLUSTER_FEATURES.get(cfg.CLUSTER.FEATURE, METHODS.get(cfg.METHOD.NAME).cluster_feature)
    found = run.extraction(run.model, run.data.tracklets, feature, round=0)
    readable = torch.ones(len(run.data.tracklets), dtype=torch.bool)
    readable[found.unreadable] = False
    cameras = torch.from_numpy(camids_of(run.data.tracklets))[readable]
    truth = None if run.data.truth is None else run.data.truth.pids[readable.numpy()]
    return Source(found.values[readable.to(found.values.device)].contiguous(), _several(cameras), truth)


def _several(camids: Tensor | None) -> Tensor | None:
    if camids is None or bool((camids == camids[:1]).all()):
        return None
    return camids
