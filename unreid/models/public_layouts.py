"""Tensor names of person and vehicle models that others publish: toolboxes, and pre-training on unlabelled people.

===============  ===================================================  =============================================
layout           repositories                                         told by
===============  ===================================================  =============================================
``torchreid``    deep-person-reid: OSNet (also as ONNX) and ResNet    ``conv1.conv``; ``layer1`` beside ``classifier``
``fastreid``     fast-reid, and LUPerson's fine-tuned models          ``backbone.*`` and ``heads.*``
``openunreid``   OpenUnReID, its domain-specific BN too                ``backbone.*`` and ``head.feat_bn``
``transreid``    TransReID, TransReID-SSL (with or without JPM) and    ``bottleneck`` beside ``base.patch_embed``,
                 the strong baseline                                   ``patch_embed`` or ``base.layer1``
``backbone``     LUPerson (MoCo), TransReID-SSL (DINO), ImageNet      a backbone alone, under some prefix
===============  ===================================================  =============================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unreid.models.osnet import PARTS as OSNET_PARTS
from unreid.models.osnet import name_of as osnet_name
from unreid.models.vit import PERSON_GRIDS

RESNET_PARTS = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
PREFIXES = ("", "backbone.", "encoder_q.", "base_encoder.", "encoder.", "visual.", "trunk.")
"""Where a backbone stands in files of pre-training; of MoCo's two encoders the one that is trained."""
State = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """How a repository names its tensors.

    Attributes:
        renames: (reference prefix, project prefix); the first that fits a name is taken.
        dropped: reference prefixes without a counterpart.
        prefix: put before every name in an export.
        container: entry of an exported file that holds the state dict; "" for a bare one.
        prepare: names and shapes brought into the form that ``renames`` knows.
        neckless: a file may hold no BN neck, and everything that no rule names is left out.
        exported: files of this layout can be written too.
    """

    renames: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...] = ()
    prefix: str = ""
    container: str = ""
    prepare: Callable[[State], State] = dict
    neckless: bool = False
    exported: bool = True


def _below_backbone(*parts: str) -> tuple[tuple[str, str], ...]:
    """Renames of a backbone's first words; "" stands for names that end with the word."""
    return tuple((part, f"backbone.{part}") for part in parts)


def target_norms(state: State) -> State:
    """DSBN: the target's layers under the plain names; the source's are left to be dropped."""
    numbers = {key.split(".dsbn.")[1].split(".")[0] for key in state if ".dsbn." in key}
    last = max(numbers, key=int, default="")
    return {key.replace(".BN_T.", ".").replace(f".dsbn.{last}.", "."): value for key, value in state.items()}


def _one_net(state: State) -> State:
    """OpenUnReID's mean network where there is one."""
    if not any(key.startswith("mean_net.") for key in state):
        return target_norms(state)
    return target_norms({key.removeprefix("mean_net."): value for key, value in state.items()})


def _fastreid(state: State) -> State:
    """The 1 x 1 convolution before the neck becomes a linear layer, and the neck follows it."""
    state = {key.replace("heads.bnneck.", "heads.bottleneck.0."): value for key, value in state.items()}
    reduction = state.get("heads.bottleneck.0.weight")
    if reduction is None or reduction.ndim != 4:
        return state
    named = {key.replace("heads.bottleneck.0.", "heads.reduction."): value for key, value in state.items()}
    named["heads.reduction.weight"] = reduction.flatten(1)
    return {key.replace("heads.bottleneck.1.", "heads.bottleneck.0."): value for key, value in named.items()}


def _transreid(state: State) -> State:
    """The global branch of JPM is the last block; ``base.`` is taken off."""
    plain = {key.removeprefix("base."): value for key, value in state.items()}
    if not any(key.startswith("b1.0.") for key in plain):
        return plain
    last = max(int(key.split(".")[1]) for key in plain if key.startswith("blocks."))
    branch = {key: value for key, value in plain.items() if key.startswith("b1.")}
    rest = {key: value for key, value in plain.items() if key not in branch}
    renamed = {key.replace("b1.0.", f"blocks.{last}.").replace("b1.1.", "norm."): v for key, v in branch.items()}
    return rest | renamed


def _bare(state: State) -> State:
    """The backbone's names without what stands before them."""
    prefix = _prefix(state) or ""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)} | {
        key: value for key, value in state.items() if not key.startswith(prefix)
    }


_ANY_BACKBONE = _below_backbone(*(f"{part}." for part in (*RESNET_PARTS, *OSNET_PARTS)))
_ANY_VIT = _below_backbone("cls_token", "pos_embed", "patch_embed.", "blocks.", "norm.")
_FC = (("fc.0.", "embedding."), ("fc.1.", "bottleneck."))

PUBLIC: dict[str, Layout] = {
    "torchreid": Layout((*_ANY_BACKBONE, *_FC), dropped=("classifier.",), neckless=True),
    "fastreid": Layout(
        (
            ("backbone.", "backbone."),
            ("heads.pool_layer.p", "pooling.p"),
            ("heads.reduction.", "embedding."),
            ("heads.bottleneck.0.", "bottleneck."),
        ),
        dropped=("heads.weight", "heads.classifier.", "heads.cls_layer.", "pixel_mean", "pixel_std"),
        container="model",
        prepare=_fastreid,
        exported=False,
    ),
    "openunreid": Layout(
        (
            ("backbone.", "backbone."),
            ("global_pooling.p", "pooling.p"),
            ("head.feat_reduction.", "embedding."),
            ("head.feat_bn.", "bottleneck."),
        ),
        dropped=("classifier.", "net."),
        container="state_dict",
        prepare=_one_net,
        exported=False,
    ),
    "transreid": Layout(
        (*_ANY_VIT, *_ANY_BACKBONE, ("bottleneck.", "bottleneck."), ("fcneck.", "embedding.")),
        dropped=("classifier", "bottleneck_", "b1.", "b2.", "fc.", "sie_embed", "head."),
        prepare=_transreid,
        exported=False,
    ),
    "backbone": Layout((*_ANY_BACKBONE, *_ANY_VIT), prepare=_bare, neckless=True, exported=False),
}


def detect_public(state: Mapping[str, Tensor]) -> str | None:
    """The layout of :data:`PUBLIC` that plain names (no ``module.``) belong to, or None."""
    first_words = {key.split(".")[0] for key in state}
    if any(key.startswith(("backbone.", "mean_net.backbone.")) for key in state):
        if "heads" in first_words:
            return "fastreid"
        if any(key.startswith(("head.feat_bn.", "mean_net.head.feat_bn.")) for key in state):
            return "openunreid"
    marks = ("patch_embed.proj.weight", "base.patch_embed.proj.weight", "base.layer1.0.conv1.weight")
    if "bottleneck.running_mean" in state and any(mark in state for mark in marks):
        return "transreid"
    if osnet_name(state) and "fc.1.running_mean" in state:
        return "torchreid"
    if "layer1.0.conv1.weight" in state and "classifier.weight" in state:
        return "torchreid"
    return "backbone" if _prefix(state) is not None else None


def vit_name(backbone: Mapping[str, Tensor]) -> str:
    """The registered name of the vision transformer whose tensors these are; "" if there is none."""
    token = backbone.get("cls_token")
    if token is None or "blocks.0.norm1.weight" not in backbone or token.ndim != 3:
        return ""
    return {384: "vit_small", 768: "vit_base"}.get(token.shape[2], "")


def public_hints(layout: str, original: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Config values that a public layout fixes, or that its file says, beside those that names and shapes imply.

    Args:
        original: the tensors under the file's names.
        state: the same under this project's.
    """
    hints: dict[str, Any] = {}
    resnet = "backbone.layer1.0.conv1.weight" in state
    if layout == "torchreid":
        osnet = not resnet
        hints |= {"MODEL.NECK_RELU": "embedding.weight" in state, "MODEL.BN_BIAS": "embedding.weight" in state}
        hints["MODEL.BACKBONE.LAST_STRIDE"] = 1 if osnet or "embedding.weight" in state else 2
    if layout in ("fastreid", "openunreid", "transreid"):
        hints["MODEL.BACKBONE.LAST_STRIDE"] = 1
    if layout == "fastreid" and resnet:
        hints["MODEL.BACKBONE.STEM_CEIL"] = True
    for key, name in (("pixel_mean", "INPUT.PIXEL_MEAN"), ("pixel_std", "INPUT.PIXEL_STD")):
        values = [float(value) for value in original[key].flatten()] if key in original else []
        if len(values) == 3:
            scale = 255.0 if max(values) > 1 else 1.0
            hints[name] = [round(value / scale, 4) for value in values]
    positions = state.get("backbone.pos_embed")
    if layout == "transreid" and positions is not None and positions.shape[1] - 1 in PERSON_GRIDS:
        size, stride = PERSON_GRIDS[positions.shape[1] - 1]
        hints |= {"MODEL.BACKBONE.STRIDE": stride, "INPUT.SIZE_TRAIN": list(size), "INPUT.SIZE_TEST": list(size)}
    return hints


def _prefix(state: Mapping[str, Tensor]) -> str | None:
    """Where the backbone of a pre-training file stands, or None."""
    for prefix in PREFIXES:
        marks = (
            f"{prefix}layer1.0.conv1.weight",
            f"{prefix}conv2.0.conv1.conv.weight",
            f"{prefix}blocks.0.norm1.weight",
        )
        if any(mark in state and math.prod(state[mark].shape) > 1 for mark in marks):
            return prefix
    return None
