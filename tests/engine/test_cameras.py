"""A ViT with a camera embedding trains and is evaluated; what does not go with it says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.engine.stored import load_run
from unreid.config import CfgNode
from unreid.engine.run import run
from unreid.evaluation import FeatureExtractor
from unreid.utils.errors import UserError

VIT = [
    *(
        "MODEL.BACKBONE.NAME",
        "vit_small",
        "MODEL.POOLING.NAME",
        "avg",
        "MODEL.POOLING.STRIPES",
        "1",
        "MODEL.RECALIBRATE_BN",
        "0",
    ),
    *("MODEL.BACKBONE.CAMERAS", "3", "MODEL.FREEZE_AT", "layer3", "OPTIM.EPOCHS", "2", "DATALOADER.ITERS", "2"),
    # As good as no clustering: what is tested are the cameras.
    *("CLUSTER.NAME", "KMeans", "CLUSTER.NUM_CLUSTERS", "8"),
]


def test_training_moves_the_camera_embedding_and_evaluation_reads_it(small_config: Callable[..., CfgNode]) -> None:
    cfg = small_config(*VIT)
    results = run(cfg)
    checkpoint = Path(cfg.OUTPUT_DIR) / "checkpoint.pth"
    weights = load_run(checkpoint)["model"]
    table = weights["backbone.camera_embed.weight"]
    start = load_run(
        Path(run(small_config(*VIT, "DATALOADER.ITERS", "1", "OPTIM.LR", "0.0", output="start"))["checkpoint"])
    )
    assert not torch.equal(table, start["model"]["backbone.camera_embed.weight"])
    again = run(small_config(*VIT, "RESUME", str(checkpoint), "TEST.EVAL_ONLY", "True", output="eval"))
    assert again["Synthetic"]["mAP"] == pytest.approx(results["last"]["Synthetic"]["mAP"], abs=0.01)
    with pytest.raises(UserError, match="without cameras"):
        FeatureExtractor.from_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("MODEL.BACKBONE.CAMERAS", "2"), "The data have 3 cameras and MODEL.BACKBONE.CAMERAS is 2"),
        (("MODEL.RECALIBRATE_BN", "2"), "MODEL.RECALIBRATE_BN does not work with MODEL.BACKBONE.CAMERAS"),
    ],
)
def test_what_does_not_fit_is_said(
    small_config: Callable[..., CfgNode], overrides: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        run(small_config(*VIT, *overrides))
