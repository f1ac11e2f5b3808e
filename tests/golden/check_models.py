"""Backbones, heads, pooling, mean teacher and learning rates against the references.

Tolerances, transcribed from the manifests: outputs on the unit sphere atol 1e-5; pooled features rtol 1e-4 and atol
2e-6 times the largest entry; training outputs atol 2e-3. The running mean of the neck after a training pass is of the
size of the pooled feature, hence its tolerance is relative to the largest entry.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unreid.engine.optim import LRSchedule
from unreid.models.base import create_backbone
from unreid.models.checkpoint_keys import convert_checkpoint
from unreid.models.ema import MeanTeacher, ema_decay
from unreid.models.embedding import EmbeddingModel
from unreid.models.pooling import GeneralizedMeanPooling, build_pooling

from .cases import Case, checks
from .formula_weights import formula_input, formula_state

ROLES = {
    "embedding": (0.0, 1e-5),
    "eval_feature": (0.0, 1e-5),
    "embedding_head": (0.0, 1e-5),
    "pooled": (1e-4, 2e-6),
    "feature_map_mean": (1e-4, 2e-6),
    "cluster_feature": (1e-4, 2e-6),
}


class Passthrough(nn.Module):
    """A backbone that returns its input: recorded heads start from feature maps."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim

    def forward(self, maps: Tensor) -> Tensor:
        return maps


def close(name: str, actual: Tensor, expected: np.ndarray, rtol: float, atol: float) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=rtol, atol=atol, err_msg=name)


@cache
def key_lists(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "state_dict_keys.json").read_text())


def build_reference(case: Case) -> EmbeddingModel:
    """The project's model with the recorded network's weights, imported as a published checkpoint would be."""
    constructor = case.params["constructor"]
    keys = key_lists(case.path.parent)[case.params["variant"]]["keys"]
    converted = convert_checkpoint(formula_state(keys, case.params["weight_seed"]))
    hints = converted.hints
    model = EmbeddingModel(
        create_backbone(
            hints["MODEL.BACKBONE.NAME"],
            last_stride=hints["MODEL.BACKBONE.LAST_STRIDE"],
            stem_relu=hints["MODEL.BACKBONE.STEM_RELU"],
        ),
        build_pooling(constructor.get("pooling_type", hints["MODEL.POOLING.NAME"])),
        embed_dim=hints["MODEL.EMBED_DIM"],
        embed_bias=hints["MODEL.EMBED_BIAS"],
        bn_bias=hints["MODEL.BN_BIAS"],
        frame_pool=hints["MODEL.FRAME_POOL"],
        num_classes=constructor.get("num_classes", 0),
        freeze_at="layer2" if constructor.get("fixed_layer") else "",
    )
    model.load_state_dict(converted.state)
    return model


@checks("common", "backbone forward with formula weights")
def backbone_forward(case: Case) -> None:
    expected = case.arrays()
    shape = case.params["input_shape"]
    clip_len = shape[1] if len(shape) == 5 else 1
    images = formula_input(shape, case.params["input_seed"]).flatten(0, -4)
    model = build_reference(case)
    reference = case.entry["reference"]
    found: dict[str, Tensor] = {}
    model.eval()
    with torch.inference_mode():
        output = model(images, clip_len)
        found["embedding"] = found["embedding_head"] = output.embedding
        found["pooled"] = found["cluster_feature"] = output.pooled
        is_buc = reference == "BUC"
        found["eval_feature"] = F.normalize(output.pooled) if is_buc else output.embedding
        found["feature_map_mean"] = model.forward_features(images).mean(dim=(2, 3))
    for name in ROLES:
        if name in expected:
            rtol, atol = ROLES[name]
            scale = 1.0 if rtol == 0 else float(np.abs(expected[name]).max())
            close(name, found[name], expected[name], rtol, atol * scale)
    if any(name.startswith("train_") for name in expected):
        model.train()
        with torch.no_grad():
            output = model(images, clip_len)
        by_reference = (output.pooled, output.logits) if reference == "AuxUSL" else (output.embedding, output.pooled)
        for k, value in enumerate(by_reference):
            if f"train_{k}" in expected:
                assert value is not None
                close(f"train_{k}", value, expected[f"train_{k}"], 0.0, 2e-3)
        if "train_feat_bn_running_mean" in expected:
            assert model.bottleneck.running_mean is not None
            close("running mean", model.bottleneck.running_mean, expected["train_feat_bn_running_mean"], 0.0, 2e-3)
    unknown = set(expected) - set(ROLES) - {"train_0", "train_1", "train_feat_bn_running_mean"}
    assert not unknown, f"outputs without a check: {unknown}"


@checks("common", "pooling layers")
def pooling_layers(case: Case) -> None:
    expected = case.arrays()
    maps = torch.from_numpy(expected["x"]).requires_grad_()
    gem = GeneralizedMeanPooling(p=case.params["p"], eps=case.params["eps"])
    pooled = gem(maps)
    weights = torch.linspace(-1, 1, pooled.numel()).view_as(pooled)
    (pooled * weights).sum().backward()
    assert maps.grad is not None and gem.p.grad is not None
    found = {"gem": pooled, "grad_x": maps.grad, "grad_p": gem.p.grad}
    for name in set(expected) - {"x", *found}:
        found[name] = build_pooling(name)(maps)
    for name, value in found.items():
        close(name, value.reshape(expected[name].shape), expected[name], 1e-4, 1e-6)


@checks("common", "learning rate per epoch")
def learning_rates(case: Case) -> None:
    params = case.params
    for name, expected in case.arrays().items():
        options: dict[str, Any] = {"gamma": params["gamma"], "epochs": len(expected)}
        if step := re.fullmatch(r"step(\d+)", name):
            options["steps"] = [int(step[1])]
        elif version := re.fullmatch(r"warmup_(v\d)", name):
            options |= {"steps": [params["steps"]], "warmup_version": version[1]}
            options |= {"warmup_epochs": params["warmup_iters"], "warmup_factor": params["warmup_factor"]}
        else:
            raise AssertionError(f"no check knows the schedule {name!r}")
        schedule = LRSchedule(params["lr"], "step", **options)
        np.testing.assert_allclose([schedule(e) for e in range(len(expected))], expected, rtol=1e-9, err_msg=name)


@checks("ccc", "lr_schedule")
def warmup_schedule(case: Case) -> None:
    params = case.params
    expected = case.arrays()["out_lr"]
    schedule = LRSchedule(
        params["base_lr"],
        "step",
        epochs=len(expected),
        steps=[params["step"]],
        gamma=params["gamma"],
        warmup_epochs=params["warmup_epochs"],
        warmup_factor=params["warmup_factor"],
        warmup_method=params["method"],
        warmup_version=params["version"],
        warmup_lr_factor=params["warmup_lr_factor"],
    )
    first = params.get("first_epoch", 0)
    found = [schedule(first + e) for e in range(len(expected))]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@checks("cdsm", "ema")
def cdsm_teacher(case: Case) -> None:
    arrays = case.arrays()
    names = sorted(key.removeprefix("student_") for key in arrays if key.startswith("student_"))
    student = nn.ParameterDict({name: torch.from_numpy(arrays[f"ema_{name}0"]) for name in names})
    for name in names:
        student[name].requires_grad_(name != "b")
    teacher = MeanTeacher(student, case.params["alpha"])
    for k, step in enumerate(arrays["global_step"].tolist()):
        with torch.no_grad():
            for name in names:
                student[name].copy_(torch.from_numpy(arrays[f"student_{name}"][k]))
        teacher.update(student, step)
        assert abs(ema_decay(step, case.params["alpha"]) - arrays["alpha_used"][k]) <= 1e-12
        for name in names:
            close(f"{name}, update {k}", teacher.model.get_parameter(name), arrays[f"ema_{name}"][k], 0.0, 1e-6)


@checks("auxusl", "ema")
def auxusl_teacher(case: Case) -> None:
    arrays = case.arrays()
    student = nn.ParameterDict({"w": torch.from_numpy(arrays["in_student"])})
    start = nn.ParameterDict({"w": torch.from_numpy(arrays["in_teacher"])})
    for k, step in enumerate(arrays["in_step"].tolist()):
        teacher = MeanTeacher(start, case.params["alpha"])
        teacher.update(student, step)
        close(f"step {step}", teacher.model.get_parameter("w"), arrays["out_teacher"][k], 1e-6, 1e-7)


@checks("cdsm", "head")
def cdsm_head(case: Case) -> None:
    arrays, params = case.arrays(), case.params
    inputs = torch.from_numpy(arrays["x"]).float()
    model = EmbeddingModel(
        Passthrough(inputs.shape[2]), GeneralizedMeanPooling(p=params["p"], eps=params["eps"])
    ).train()
    assert (model.bottleneck.momentum, model.bottleneck.eps) == (params["bn_momentum"], params["bn_eps"])
    with torch.no_grad():
        model.bottleneck.weight.copy_(torch.from_numpy(arrays["bn_weight"]))
    for step, maps in enumerate(inputs):
        model.zero_grad()
        maps.requires_grad_()
        output = model(maps)
        output.embedding.backward(torch.from_numpy(arrays["grad_out"][step]))
        assert maps.grad is not None and isinstance(model.pooling, GeneralizedMeanPooling)
        close("pooled", output.pooled, arrays["pooled"][step], 1e-5, 1e-6)
        close("feat_train", output.embedding, arrays["feat_train"][step], 0.0, 1e-5)
        close("grad_p", model.pooling.p.grad, arrays["grad_p"][step], 1e-4, 5e-5)
        for name, value in (
            ("grad_bn_weight", model.bottleneck.weight.grad),
            ("grad_x_spatial_sum", maps.grad.sum(dim=(2, 3))),
        ):
            close(name, value, arrays[name][step], 0.0, 1e-4 * float(np.abs(arrays[name]).max()))
    close("running_mean", model.bottleneck.running_mean, arrays["running_mean"], 1e-5, 1e-6)
    close("running_var", model.bottleneck.running_var, arrays["running_var"], 1e-5, 1e-6)
    close("feat_eval", model.eval()(inputs[0]).embedding, arrays["feat_eval"], 0.0, 1e-5)


@checks("auxusl", "video_head")
def auxusl_head(case: Case) -> None:
    arrays = case.arrays()
    maps = torch.from_numpy(arrays["in_x"])
    weight = arrays["in_classifier__weight"]
    model = EmbeddingModel(Passthrough(maps.shape[2]), num_classes=len(weight))
    fill(model.bottleneck, arrays, "in_feat_bn__", case.params)
    with torch.no_grad():
        assert model.classifier is not None
        model.classifier.weight.copy_(torch.from_numpy(weight))
    clip_len = maps.shape[1]
    evaluated = model.eval()(maps.flatten(0, 1), clip_len)
    trained = model.train()(maps.flatten(0, 1), clip_len)
    found = {
        "out_infer": evaluated.embedding,
        "out_cluster": evaluated.pooled,
        "out_feat": trained.pooled,
        "out_logits": trained.logits,
        "out_bn_mean_after": model.bottleneck.running_mean,
        "out_bn_var_after": model.bottleneck.running_var,
    }
    compare_all(case, found)


@checks("buc", "embedding_head")
def buc_head(case: Case) -> None:
    arrays, params = case.arrays(), case.params
    frames = torch.from_numpy(arrays["in_x"])
    weight = arrays["in_embeding__weight"]
    model = EmbeddingModel(
        Passthrough(weight.shape[1]),
        embed_dim=weight.shape[0],
        dropout=params["dropout"],
        bn_bias=True,
        frame_pool="before_bottleneck",
    )
    fill(model.bottleneck, arrays, "in_embeding_bn__", params)
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(weight))
        model.embedding.bias.copy_(torch.from_numpy(arrays["in_embeding__bias"]))
    maps, clip_len = frames.flatten(0, 1)[:, :, None, None], frames.shape[1]
    evaluated = model.eval()(maps, clip_len)
    trained = model.train()(maps, clip_len)
    found = {
        "out_net_eval": evaluated.embedding,
        "out_feat_eval": F.normalize(evaluated.pooled),
        "out_net_train": trained.embedding,
        "out_feat_train": F.normalize(trained.pooled),
        "out_bn_mean_after": model.bottleneck.running_mean,
        "out_bn_var_after": model.bottleneck.running_var,
    }
    compare_all(case, found)


def fill(layer: nn.BatchNorm1d, arrays: dict[str, np.ndarray], prefix: str, params: dict[str, Any]) -> None:
    """Loads recorded BN tensors, whose names start with ``prefix``."""
    assert (layer.momentum, layer.eps) == (params["bn_momentum"], params["bn_eps"])
    state = {key.removeprefix(prefix): torch.from_numpy(v) for key, v in arrays.items() if key.startswith(prefix)}
    layer.load_state_dict(state, strict=False)


def compare_all(case: Case, found: dict[str, Tensor | None]) -> None:
    """Every recorded output against ``found``, at the entry's own tolerance."""
    tolerance = case.entry["tolerance"]
    for name, expected in case.arrays().items():
        if name.startswith("out_"):
            value = found[name]
            assert value is not None
            close(name, value, expected, tolerance["rtol"], tolerance["atol"])
