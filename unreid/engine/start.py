"""The network that a run starts from, built from what its file says about itself (``MODEL.INIT_NETWORK``)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from unreid.config import CfgNode
from unreid.models.checkpoint_format import flat_config
from unreid.models.checkpoint_keys import convert_checkpoint
from unreid.models.convert import own_weights
from unreid.models.weight_files import read_file
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

NETWORK = (
    *("MODEL.BACKBONE.NAME", "MODEL.BACKBONE.LAST_STRIDE", "MODEL.BACKBONE.STEM_RELU", "MODEL.BACKBONE.STEM_CEIL"),
    *("MODEL.BACKBONE.WIDTH", "MODEL.BACKBONE.STRIDE", "MODEL.POOLING.NAME", "MODEL.POOLING.STRIPES"),
    *("MODEL.EMBED_DIM", "MODEL.EMBED_BIAS", "MODEL.BN_BIAS", "MODEL.NECK_RELU", "MODEL.FRAME_POOL"),
    *("MODEL.STANDARDIZE", "INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD"),
)
"""Keys that a file may decide: the network, and the pixel statistics it was trained with; the size stays free."""


def adopt_network(cfg: CfgNode, path: str | Path) -> CfgNode:
    """The config with the network of a file: from the config in it, or from the names and shapes of its tensors.

    Raises:
        UserError: the file does not say what network it holds.
    """
    adopted = {key: value for key, value in described_network(path).items() if key in NETWORK}
    if "MODEL.BACKBONE.NAME" not in adopted:
        raise UserError(
            f"{path} does not say what network it holds: set MODEL.INIT_NETWORK False and describe it by the keys of "
            "MODEL (MODEL.BACKBONE.NAME ...)."
        )
    changed = cfg.clone()
    changed.defrost()
    changed.merge_from_list([part for pair in adopted.items() for part in pair])
    changed.freeze()
    logger.info("network of %s: %s", path, ", ".join(f"{key} {value}" for key, value in adopted.items()))
    return changed


def described_network(path: str | Path) -> dict[str, Any]:
    """Config key -> value as far as a file tells them; empty where it is a state dict of ours without a config."""
    content = read_file(path)
    own = own_weights(content, path)
    if own is None:
        return convert_checkpoint(content, origin=str(path)).hints
    return flat_config(own.config, path) if own.config else dict(own.hints)
