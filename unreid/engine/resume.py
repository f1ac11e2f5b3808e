"""Whether a checkpoint belongs to a config: asked before any data is read and before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unreid.config import CfgNode
from unreid.config.node import leaves
from unreid.models.checkpoint_format import Checkpoint, flat_config
from unreid.models.embedding import EmbeddingModel
from unreid.utils.errors import UserError
from unreid.utils.registry import fold
from unreid.utils.state import StateError, require_like

logger = logging.getLogger(__name__)

DECISIVE = frozenset(
    {
        "METHOD.NAME",
        "DATASETS.SOURCES",
        "MODEL.DOMAIN_BN",
        "MODEL.BACKBONE.NAME",
        "MODEL.POOLING.NAME",
        "MODEL.EMBED_DIM",
        "MODEL.EMA.ENABLED",
        "MODEL.CLASSIFIER",
        "MODEL.PARTS",
        "MEMORY.NAME",
        "OPTIM.OPT",
    }
)
"""Keys without which the stored state has no meaning."""
FREE = (
    *("OUTPUT_DIR", "RESUME", "PLUGINS", "PICKLE_PATH", "PRINT_PERIOD", "VERSION", "LOG.", "CHECKPOINT.", "TEST."),
    *("OVERWRITE", "DIST."),
    *(
        "MODEL.DEVICE",
        "MODEL.INIT_PATH",
        "MODEL.INIT_NETWORK",
        "MODEL.RECALIBRATE_BN",
        "MODEL.BACKBONE.PRETRAIN",
        "MODEL.BACKBONE.MIN_MATCH",
    ),
    *("DATASETS.ROOT", "DATASETS.TESTS", "DATALOADER.NUM_WORKERS", "DATALOADER.TEST_BATCH_SIZE", "DATALOADER.CACHE"),
    *("OPTIM.COMPILE", "OPTIM.CHANNELS_LAST", "CLUSTER.MAX_EMPTY_ROUNDS", "CLUSTER.KNN.BACKEND"),
)
"""Keys (or their beginnings) that may change on the way: they do not change what is learnt, or no longer do."""


def check_resumable(checkpoint: Checkpoint, cfg: CfgNode, path: str | Path) -> None:
    """Compares a run's checkpoint with the config that is to go on from it; needs no data and writes nothing.

    Plug-ins of the config must have been imported. Keys that differ and change what is learnt are logged as a warning.

    Raises:
        UserError: the config is of another method, network, memory or optimiser; one sentence names the keys.
    """
    if checkpoint.trainer is None:
        return
    changed: dict[str, tuple[Any, Any]] = {}
    if checkpoint.config:
        changed = changed_keys(flat_config(checkpoint.config, path), cfg)
        decisive = {key: pair for key, pair in changed.items() if key in DECISIVE}
        if decisive:
            raise UserError(
                f"{path} cannot be gone on from with this config: {_listed(decisive)}; use the config it was trained "
                f"with, or start anew from its network with MODEL.INIT_PATH {path}."
            )
    try:
        _check_network(checkpoint.trainer["model"], cfg)
    except StateError as error:
        keys = {key: pair for key, pair in changed.items() if key.startswith("MODEL.")}
        reason = _listed(keys) if keys else str(error)
        raise UserError(
            f"{path} holds another network than the config describes: {reason}; use the config it was trained with."
        ) from None
    if changed:
        logger.warning("the run goes on from %s with another config: %s", path, _listed(changed))


def changed_keys(stored: Mapping[str, Any], cfg: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Key -> (stored value, value of ``cfg``) of the keys that differ and change what is learnt."""
    changed: dict[str, tuple[Any, Any]] = {}
    for key, value in leaves(cfg):
        if key not in stored or key.startswith(FREE):
            continue
        before, now = stored[key], list(value) if isinstance(value, tuple) else value
        if key in DECISIVE and isinstance(now, str) and isinstance(before, str):
            if fold(before) != fold(now):
                changed[key] = before, now
        elif before != now:
            changed[key] = before, now
    return changed


def _check_network(stored: dict[str, Tensor], cfg: CfgNode) -> None:
    """Builds the configured network without memory or numbers and compares it."""
    classifier = stored.get("classifier.weight")
    classes = len(classifier) if classifier is not None and classifier.ndim else 1
    quiet = cfg.clone()
    quiet.defrost()
    quiet.MODEL.SYNC_BN, quiet.MODEL.BN_CHUNKS = False, 1  # how a batch is normalised leaves no trace in the tensors
    with torch.device("meta"):
        model = EmbeddingModel.from_config(quiet, num_classes=classes, pretrained=False)
    require_like(stored, dict(model.state_dict()), "the model")


def _listed(changed: Mapping[str, tuple[Any, Any]]) -> str:
    shown = [f"{key} was {before}, is {now}" for key, (before, now) in list(changed.items())[:12]]
    more = f" and {len(changed) - 12} more" if len(changed) > 12 else ""
    return ", ".join(shown) + more
