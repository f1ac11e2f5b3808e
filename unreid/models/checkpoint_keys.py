"""Tensor names of the published checkpoints, to this project's and back.

===========================  ====================================================  =============================
layout                       repositories                                          backbone
===========================  ====================================================  =============================
``cc``                       Cluster Contrast, ISE, CDSM, SpCL                     ``base.4`` ... is ``layer1`` ...
``3c``                       3C; as ``cc`` with truncated counter names            the same
``auxusl``                   AuxUSLReID: no ReLU in the stem, so one index less    ``base.3`` ... is ``layer1`` ...
``buc``                      BUC (it publishes none, but writes these names)       ``CNN.base.<torchvision name>``
===========================  ====================================================  =============================

Those of other toolboxes and of pre-training stand in :mod:`unreid.models.public_layouts`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unreid.models.base import create_backbone
from unreid.models.folded_norms import unfold
from unreid.models.osnet import name_of as osnet_name
from unreid.models.public_layouts import PUBLIC, Layout, detect_public, public_hints, target_norms, vit_name
from unreid.models.weight_files import below, find_state, unwrapped
from unreid.utils.errors import UserError


def _sequential(layer1: int) -> tuple[tuple[str, str], ...]:
    """Names of an ``nn.Sequential`` backbone whose ``layer1`` has this index, and of its neck."""
    stages = tuple((f"base.{layer1 + k}.", f"backbone.layer{k + 1}.") for k in range(4))
    neck = (("feat.", "embedding."), ("feat_bn.", "bottleneck."), ("classifier.", "classifier."))
    return (("base.0.", "backbone.conv1."), ("base.1.", "backbone.bn1."), *stages, ("gap.p", "pooling.p"), *neck)


LAYOUTS: dict[str, Layout] = {
    "cc": Layout(_sequential(4), prefix="module.", container="state_dict", prepare=target_norms),
    "3c": Layout(_sequential(4)),
    "auxusl": Layout(_sequential(3), container="state_dict"),
    "buc": Layout(
        (
            ("CNN.base.", "backbone."),
            ("avg_pooling.embeding.", "embedding."),
            ("avg_pooling.embeding_bn.", "bottleneck."),
        ),
        dropped=("CNN.base.fc.",),
    ),
    **PUBLIC,
}
ALIASES = {"ise": "cc", "cdsm": "cc", "spcl": "cc", "clustercontrast": "cc", "ccc": "3c"}
ALIASES |= {"bot": "transreid", "luperson": "backbone", "moco": "backbone", "dino": "backbone"}

_BLOCKS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
}
_COUNTER = "num_batches_tracked"
_CUT_COUNTER = "num_batches_track"  # 3C strips characters where it means a prefix


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Converted:
    """A published checkpoint in this project's terms.

    Attributes:
        layout: key of :data:`LAYOUTS`.
        state: project name -> tensor, complete but for a classifier that the file may lack.
        hints: config key -> value that the file needs to give the published features.
        left_out: names in the file that have no place here: classifiers, heads of other losses, a second network.
    """

    layout: str
    state: dict[str, Tensor]
    hints: dict[str, Any]
    left_out: tuple[str, ...] = ()


def is_classifier(name: str) -> bool:
    """Whether a tensor belongs to the training samples of a run and not to the network that is evaluated."""
    return name.startswith("classifier.") or name == "part_heads.classifier"


def convert_checkpoint(content: Any, layout: str = "auto", origin: str = "the file") -> Converted:
    """Renames the tensors of a published checkpoint and checks that they form a whole network.

    Args:
        content: what the file holds: a state dict, possibly inside a container.
        layout: "auto", a key of :data:`LAYOUTS` or the name of a repository that uses one.

    Raises:
        UserError: unknown layout, or a tensor that has no place, is missing or has the wrong shape.
    """
    state = plain_names(find_state(content, origin), origin)
    found = detect_layout(state)
    if layout != "auto":
        named = ALIASES.get(layout.lower(), layout.lower())
        if named not in LAYOUTS:
            raise UserError(f"Layout {layout!r} is not known: use auto, {', '.join([*LAYOUTS, *ALIASES])}.")
        found = "3c" if (named, found) == ("cc", "3c") else named
    if found is None:
        raise UserError(
            f"The tensor names of {origin} (such as {next(iter(state))!r}) belong to none of the known repositories."
        )
    renamed, left_out = _rename(LAYOUTS[found].prepare(state), LAYOUTS[found], origin)
    if found == "torchreid" and osnet_name(state):
        renamed = _unfolded(renamed)
    name = check_backbone(renamed, origin)
    hints = _hints(found, name, renamed) | public_hints(found, state, renamed)
    return Converted(found, _with_neck(renamed, origin), hints, left_out)


def detect_layout(state: Mapping[str, Tensor]) -> str | None:
    """The layout that plain names (no ``module.``) belong to, or None.

    3C files are told from Cluster Contrast's by the restored counters only, which makes no difference to the tensors.
    """
    if any(key.startswith("CNN.base.") for key in state):
        return "buc"
    if "base.0.weight" not in state:
        return detect_public(state)
    if "base.3.0.conv1.weight" in state:
        return "auxusl"
    return "cc" if "base.4.0.conv1.weight" in state else None


def check_backbone(state: Mapping[str, Tensor], origin: str = "the file") -> str:
    """The backbone that the ``backbone.*`` tensors of ``state`` form, by its registered name.

    Raises:
        UserError: they form none of the known ones exactly: a tensor too many, missing or misshaped.
    """
    tensors = below(state, "backbone.")
    name = osnet_name(tensors) or vit_name(tensors) or _resnet_name(tensors, origin)
    with torch.device("meta"):
        expected = create_backbone(name).state_dict()
    positions = expected.get("pos_embed")
    if positions is not None and "pos_embed" in tensors:
        expected["pos_embed"] = tensors["pos_embed"]  # of whatever grid: they are interpolated
    for problem, keys in (
        ("lacks", [k for k in expected if k not in tensors]),
        ("has the unexpected", [k for k in tensors if k not in expected]),
        ("has another shape for", [k for k in tensors if k in expected and tensors[k].shape != expected[k].shape]),
    ):
        if keys:
            raise UserError(
                f"{origin} does not fit {name}: it {problem} backbone.{keys[0]} ({len(keys)} such tensors)."
            )
    return name


def _resnet_name(tensors: Mapping[str, Tensor], origin: str) -> str:
    bottleneck = "layer1.0.conv3.weight" in tensors
    depth = tuple(len({k.split(".")[1] for k in tensors if k.startswith(f"layer{n}.")}) for n in (1, 2, 3, 4))
    name = _BLOCKS.get((bottleneck, depth))
    if name is None:
        kind = "bottleneck" if bottleneck else "basic"
        raise UserError(f"{origin} holds no known backbone: its stages have {depth} {kind} blocks.")
    if "layer1.0.bn1.IN.weight" in tensors:
        return f"{name}_ibn_a"
    return name if "bn1.running_mean" in tensors else f"{name}_ibn_b"


def _unfolded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the BatchNorm layers of an OSNet that an export has folded into its convolutions."""
    backbone = below(state, "backbone.")
    with torch.device("meta"):
        net = create_backbone(osnet_name(backbone))
    rest = {k: v for k, v in state.items() if not k.startswith("backbone.")}
    return {f"backbone.{k}": v for k, v in unfold(backbone, net).items()} | rest


def export_state_dict(state: Mapping[str, Tensor], layout: str) -> dict[str, Any]:
    """A file content in a published layout, from tensors with this project's names; inverse of the conversion.

    Raises:
        UserError: unknown layout, or a tensor that the layout has no name for.
    """
    named = ALIASES.get(layout.lower(), layout.lower())
    if named not in LAYOUTS:
        raise UserError(f"Layout {layout!r} is not known: use {', '.join([*LAYOUTS, *ALIASES])}.")
    rules = LAYOUTS[named]
    if not rules.exported:
        raise UserError(f"Files of the layout {named} can be read and not written.")
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        for theirs, ours in rules.renames:
            if key.startswith(ours):
                renamed[f"{rules.prefix}{theirs}{key.removeprefix(ours)}"] = value
                break
        else:
            raise UserError(f"The layout {named} has no name for {key}.")
    return {rules.container: renamed, "epoch": 0} if rules.container else dict(renamed)


def plain_names(state: Mapping[str, Tensor], origin: str = "the file") -> dict[str, Tensor]:
    """Names without wrappers such as ``module.`` (CDSM repeats it) and with whole counters."""
    plain = unwrapped(state, origin)
    whole = {key: key.removesuffix(_CUT_COUNTER) + _COUNTER for key in plain if key.endswith(_CUT_COUNTER)}
    return {whole.get(key, key): value for key, value in plain.items()}


def _rename(state: Mapping[str, Tensor], layout: Layout, origin: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors under this project's names, and the names that have no place here."""
    renamed: dict[str, Tensor] = {}
    unknown: list[str] = []
    left_out: list[str] = []
    for key, value in state.items():
        rule = next(((theirs, ours) for theirs, ours in layout.renames if key.startswith(theirs)), None)
        if key.startswith(layout.dropped) or ".BN_S." in key or ".dsbn." in key:  # the source's norms of a UDA network
            left_out.append(key)
        elif rule is not None:
            renamed[rule[1] + key.removeprefix(rule[0])] = value
        else:
            (left_out if layout.neckless else unknown).append(key)
    if unknown:
        raise UserError(f"{origin} has {len(unknown)} tensors without a place in the network, such as {unknown[0]!r}.")
    for key in [key for key in renamed if key.endswith(".running_var")]:
        renamed.setdefault(key.replace("running_var", _COUNTER), torch.zeros((), dtype=torch.int64))
    if "bottleneck.running_mean" not in renamed and not layout.neckless:
        raise UserError(f"{origin} has no bottleneck (feat_bn), so it holds a bare backbone: use PRETRAIN_PATH for it.")
    return renamed, tuple(left_out)


def _with_neck(state: dict[str, Tensor], origin: str) -> dict[str, Tensor]:
    """With a BN neck that changes no direction where the file has none."""
    if "bottleneck.running_mean" in state:
        return state
    width = len(state["embedding.weight"]) if "embedding.weight" in state else _width(state)
    logger.warning("%s holds no BN neck: it begins as the identity", origin)
    ones, zeros = torch.ones(width), torch.zeros(width)
    neck = {"weight": ones, "bias": zeros, "running_mean": zeros.clone(), "running_var": ones.clone()}
    neck[_COUNTER] = torch.zeros((), dtype=torch.int64)
    return state | {f"bottleneck.{key}": value for key, value in neck.items()}


def _width(state: Mapping[str, Tensor]) -> int:
    """Channels of the backbone's last map."""
    with torch.device("meta"):
        return int(create_backbone(check_backbone(state)).feature_dim)  # type: ignore[arg-type]


def _hints(layout: str, backbone: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Config values that the names and shapes of a file imply, and those its repository fixes."""
    basic_blocks = backbone in ("resnet18", "resnet34")
    hints: dict[str, Any] = {
        "MODEL.BACKBONE.NAME": backbone,
        # the patch of the cc family sets stride 1 for bottlenecks; CDSM leaves basic blocks alone, the others crash
        "MODEL.BACKBONE.LAST_STRIDE": 2 if layout in ("auxusl", "buc") or basic_blocks else 1,
        "MODEL.BACKBONE.STEM_RELU": layout != "auxusl",
        "MODEL.POOLING.NAME": "gem" if "pooling.p" in state else "avg",
        "MODEL.EMBED_DIM": len(state["embedding.weight"]) if "embedding.weight" in state else 0,
        "MODEL.EMBED_BIAS": "embedding.bias" in state or "embedding.weight" not in state,
        "MODEL.FRAME_POOL": "before_bottleneck" if layout == "buc" else "after_bottleneck",
        "MODEL.BN_BIAS": layout == "buc",
        "MODEL.NECK_RELU": False,
    }
    if layout == "backbone":
        del hints["MODEL.BACKBONE.LAST_STRIDE"], hints["MODEL.POOLING.NAME"]  # left to whoever trains on
        if vit_name(below(state, "backbone.")):
            hints["MODEL.POOLING.NAME"] = "avg"
    return hints
