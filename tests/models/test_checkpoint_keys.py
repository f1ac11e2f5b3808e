"""Published names of every repository: features after import, detection, completeness, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unreid.models.base import create_backbone
from unreid.models.checkpoint_keys import (
    Converted,
    convert_checkpoint,
    export_state_dict,
)
from unreid.models.embedding import EmbeddingModel
from unreid.models.pooling import build_pooling
from unreid.utils.errors import UserError

from .reference_nets import named_state, plain_forward, random_state, variants

SMALL = "resnet18_cdsm_avg"
NETWORKS = [name for name in variants() if name not in ("resnet50_auxusl_clip4", "resnet50_buc_video3")]


def model_for(converted: Converted, pooling: str | None = None) -> EmbeddingModel:
    hints = converted.hints
    classes = converted.state.get("classifier.weight", torch.empty(0))
    return EmbeddingModel(
        create_backbone(
            hints["MODEL.BACKBONE.NAME"],
            last_stride=hints["MODEL.BACKBONE.LAST_STRIDE"],
            stem_relu=hints["MODEL.BACKBONE.STEM_RELU"],
        ),
        build_pooling(pooling or hints["MODEL.POOLING.NAME"]),
        embed_dim=hints["MODEL.EMBED_DIM"],
        embed_bias=hints["MODEL.EMBED_BIAS"],
        bn_bias=hints["MODEL.BN_BIAS"],
        frame_pool=hints["MODEL.FRAME_POOL"],
        num_classes=len(classes),
    )


def as_published(repository: str, state: dict[str, Tensor]) -> Any:
    """The file content in which a repository wraps its state dict."""
    numpy_score = np.float64(0.5)
    if repository in ("ClusterContrast", "ISE"):
        return {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 50, "best_mAP": numpy_score}
    if repository == "CDSM":
        return {"state_dict": {f"module.module.{k}": v for k, v in state.items()}, "epoch": 50, "best_mAP": 0}
    if repository == "3C":
        return {f"module.{k}".strip("module."): v for k, v in state.items()}
    if repository == "AuxUSL":
        without = {k: v for k, v in state.items() if k != "classifier.weight"}
        return {"state_dict": without, "student_dict": state, "epoch": 70, "best_top1": numpy_score}
    return state


@pytest.mark.parametrize("variant", NETWORKS)
def test_features_after_import_are_those_of_the_published_network(variant: str) -> None:
    entry = variants()[variant]
    state = random_state(variant)
    content = as_published(entry["reference"], state)
    if entry["reference"] == "3C":
        assert sum(key.endswith("num_batches_track") for key in content) == 54
    converted = convert_checkpoint(content)
    model = model_for(converted, entry["constructor"].get("pooling_type")).eval()
    model.load_state_dict(converted.state, strict=True)
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = plain_forward(variant, state, images)
        found = model(images)
    assert torch.allclose(found.embedding, expected["embedding"], atol=1e-5)
    scale = float(expected["pooled"].abs().max())
    assert torch.allclose(found.pooled, expected["pooled"], rtol=1e-4, atol=2e-6 * scale)


@pytest.mark.parametrize("variant", variants())
def test_export_restores_names_and_tensors(variant: str) -> None:
    entry = variants()[variant]
    state = named_state(variant)
    converted = convert_checkpoint(state)
    layout = {"BUC": "buc", "AuxUSL": "auxusl", "3C": "3c"}.get(entry["reference"], "cc")
    exported = export_state_dict(converted.state, layout)
    names = exported.get("state_dict", exported)
    kept = {k: v for k, v in state.items() if not k.startswith("CNN.base.fc.")}
    assert {k.removeprefix("module."): v for k, v in names.items()}.keys() == kept.keys()
    again = convert_checkpoint(exported)
    assert again.state.keys() == converted.state.keys()
    assert all(again.state[k] is v for k, v in converted.state.items())


def test_hints_tell_what_the_tensors_do_not() -> None:
    hints = {name: convert_checkpoint(named_state(name)).hints for name in variants()}
    assert hints["resnet50_auxusl_clip3"]["MODEL.BACKBONE.STEM_RELU"] is False
    assert hints["resnet50_auxusl_clip3"]["MODEL.BACKBONE.LAST_STRIDE"] == 2
    assert hints["resnet50_cdsm_gem"]["MODEL.BACKBONE.LAST_STRIDE"] == 1
    assert hints["resnet50_cdsm_gem"]["MODEL.POOLING.NAME"] == "gem"
    assert hints["resnet50_ise_avg"]["MODEL.POOLING.NAME"] == "avg"
    assert hints["resnet50_ibn_a_clustercontrast_gem"]["MODEL.BACKBONE.NAME"] == "resnet50_ibn_a"
    assert hints["resnet50_ise_embedding256"]["MODEL.EMBED_DIM"] == 256
    assert hints["resnet50_ise_embedding256"]["MODEL.EMBED_BIAS"] is False
    assert hints["resnet50_buc_image"]["MODEL.FRAME_POOL"] == "before_bottleneck"
    assert hints["resnet18_cdsm_avg"]["MODEL.BACKBONE.LAST_STRIDE"] == 2


def test_missing_counters_are_zero() -> None:
    state = {k: v for k, v in named_state(SMALL).items() if not k.endswith("num_batches_tracked")}
    converted = convert_checkpoint(state).state
    assert converted["backbone.bn1.num_batches_tracked"].item() == 0
    assert len(converted) == variants()[SMALL]["num_entries"]


def broken(change: str) -> dict[str, Tensor]:
    state = named_state(SMALL)
    if change == "missing":
        del state["base.5.0.conv1.weight"]
    elif change == "shape":
        state["base.5.0.conv1.weight"] = torch.zeros(128, 64, 1, 1)
    elif change == "extra in backbone":
        state["base.5.0.conv9.weight"] = torch.zeros(1)
    elif change == "extra":
        state["attention.weight"] = torch.zeros(1)
    elif change == "block":
        state = {k: v for k, v in state.items() if not k.startswith("base.7.1.")}
    elif change == "neck":
        state = {k: v for k, v in state.items() if not k.startswith("feat_bn.")}
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "lacks backbone.layer2.0.conv1.weight"),
        ("shape", "another shape for backbone.layer2.0.conv1.weight"),
        ("extra in backbone", "unexpected backbone.layer2.0.conv9.weight"),
        ("extra", "'attention.weight'"),
        ("block", "no known backbone"),
        ("neck", "bare backbone"),
    ],
)
def test_every_tensor_must_have_its_place(change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        convert_checkpoint(broken(change))


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3}, 5, {"conv1.weight": torch.zeros(1)}, {"base.0.weight": torch.zeros(1)}]
)
def test_other_files_are_no_reference_checkpoints(content: Any) -> None:
    with pytest.raises(UserError):
        convert_checkpoint(content)


def test_a_layout_can_be_named_but_not_invented() -> None:
    state = named_state(SMALL)
    assert convert_checkpoint(state, "spcl").layout == "cc"
    with pytest.raises(UserError, match="not known"):
        convert_checkpoint(state, "mmt")
    with pytest.raises(UserError, match="not known"):
        export_state_dict({}, "mmt")
    with pytest.raises(UserError):
        convert_checkpoint(state, "auxusl")
    with pytest.raises(UserError, match="no name for pooling.p"):
        export_state_dict({"pooling.p": torch.ones(1)}, "buc")
