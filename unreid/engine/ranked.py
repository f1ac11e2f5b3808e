"""Draws the ranked list of a trained encoder."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from unreid.config import CfgNode
from unreid.engine.data import Extraction, build_data
from unreid.evaluation.ranked_list import draw_ranked_list
from unreid.utils.distributed import is_main
from unreid.utils.writing import optional

logger = logging.getLogger(__name__)


def write_ranked_list(
    cfg: CfgNode, encoder: nn.Module, feature: str, device: torch.device, folder: Path, prefix: str = ""
) -> Path | None:
    """``ranked_list.jpg`` of the first test set: ``TEST.RANKED_LIST`` queries, each with its nearest gallery images.

    ``prefix`` goes before the file's name.
    """
    tests = build_data(cfg, train=False).tests
    if not tests:
        return None
    extraction = Extraction(cfg, device)
    query, gallery = tests[0].query, tests[0].gallery
    q_features = extraction(encoder, query.tracklets, feature)
    g_features = extraction(encoder, gallery.tracklets, feature)
    path = folder / f"{prefix}ranked_list.jpg"
    if is_main():
        with optional():
            draw_ranked_list(
                path,
                query,
                gallery,
                q_features,
                g_features,
                queries=cfg.TEST.RANKED_LIST,
                filter_same_camera=tests[0].cross_camera_filter,
            )
            logger.info("ranked list: %s", path)
    return path
