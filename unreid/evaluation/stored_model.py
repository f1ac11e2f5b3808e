"""A trained model from its file alone: the config that stands in it (or is given), and the network with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unreid.config import CfgNode, get_cfg
from unreid.config.node import find, leaves
from unreid.config.renamed import successor
from unreid.config.values import coerce
from unreid.models.base import BACKBONES
from unreid.models.checkpoint_format import parse_config
from unreid.models.checkpoint_keys import convert_checkpoint
from unreid.models.convert import load_weights, own_weights
from unreid.models.embedding import EmbeddingModel
from unreid.models.weight_files import read_file
from unreid.utils.errors import UserError
from unreid.utils.pixels import TIMM


def read_stored_model(
    path: str | Path, config_file: str | Path | None, overrides: Sequence[Any], plugins: Sequence[str] = ()
) -> tuple[CfgNode, EmbeddingModel, str]:
    """The config a file is to be used with, its network, and the feature it retrieves with ("" where it does not say).

    Args:
        path: a checkpoint of this project, a state dict of one of its networks, or a file of a reference repository.
        config_file: replaces the config of the file.
        overrides: ``[KEY, VALUE, ...]`` over either.
        plugins: imported first; the keys of other plug-ins that the file names are left out.

    Raises:
        UserError: the file is missing or damaged, has no config and none is given, or does not fit.
    """
    content = read_file(path)
    own = own_weights(content, path)
    cfg = get_cfg()
    cfg.add_plugins(plugins)
    if config_file is not None:
        cfg.merge_from_file(config_file)
    elif own is None:
        hints = _published_hints(content, path)
        cfg.merge_from_list([part for pair in hints.items() for part in pair])
    elif own.config:
        _merge_stored(cfg, own.config, path)
    elif own.hints:
        cfg.merge_from_list([part for pair in own.hints.items() for part in pair])
    elif not overrides:
        raise UserError(
            f"{path} holds weights and no config: give the config they were trained with (config_file=...)."
        )
    cfg.merge_from_list(overrides)
    # How training splits BN over a batch means nothing here.
    cfg.merge_from_list(["MODEL.BN_CHUNKS", 1, "MODEL.SYNC_BN", False, "MODEL.DOMAIN_BN", False])
    cfg.freeze()
    _require_plugins(cfg, path)
    model = EmbeddingModel.from_config(cfg, pretrained=False)
    load_weights(content, model, path, what="the model of its config")
    return cfg, model, own.feature if own is not None and config_file is None else ""


def _merge_stored(cfg: CfgNode, text: str, path: str | Path) -> None:
    content = parse_config(text, path)
    try:
        stored = CfgNode(content)
        plugins = coerce(stored.pop("PLUGINS", []), [""])
        for key, value in leaves(stored):
            if not plugins or find(cfg, key) is not None or successor(key) is not None:
                cfg.merge_from_list([key, value])
        cfg.plant("PLUGINS", plugins)  # as it is: a merge would import them
    except (UserError, AssertionError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise UserError(
            f"The config in {path} does not fit this release ({reason}): give one (config_file=...)."
        ) from None


def _published_hints(content: Any, path: str | Path) -> dict[str, Any]:
    converted = convert_checkpoint(content, origin=str(path))
    return converted.hints | ({"METHOD.NAME": "BUC"} if converted.layout == "buc" else {})


def _require_plugins(cfg: CfgNode, path: str | Path) -> None:
    """The checkpoint's own plug-ins are not imported: that would run a file that its author names."""
    name = cfg.MODEL.BACKBONE.NAME
    if cfg.PLUGINS and name not in BACKBONES and not name.startswith(TIMM):
        names = ", ".join(map(repr, cfg.PLUGINS))
        raise UserError(
            f"{path} needs the backbone {cfg.MODEL.BACKBONE.NAME}, which its plug-ins bring; importing them runs their "
            f"code, so it is left to you: plugins=[{names}]."
        )
