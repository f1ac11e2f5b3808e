"""From the content of a weight file to the weights of a configured network, and files from one layout to another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unreid.models.checkpoint_format import FORMAT, Checkpoint, is_own, same_kind, unpack
from unreid.models.checkpoint_keys import (
    Converted,
    convert_checkpoint,
    detect_layout,
    export_state_dict,
    is_classifier,
    plain_names,
)
from unreid.models.domain_bn import fit_domains
from unreid.models.pooling import GeneralizedMeanPooling
from unreid.models.pretrained import best_prefix
from unreid.models.weight_files import below, find_state, read_file, require_finite, unwrapped
from unreid.utils.errors import UserError
from unreid.utils.io import atomic_save

logger = logging.getLogger(__name__)

SHOWN = 6  # names in a line of the log
_OWN = ("backbone.", "bottleneck.")
CHOICES = ("MODEL.BACKBONE.LAST_STRIDE", "MODEL.NECK_RELU")
"""Keys that may differ from what a file was trained with: a warning only."""


def convert_file(
    source: str | Path, target: str | Path, *, layout: str = "auto", to: str = FORMAT, trust: bool = False
) -> Converted:
    """Converts a published checkpoint into one that ``TEST.EVAL_ONLY`` takes, or one of ours into a published layout.

    Args:
        source: file in a published layout, or of this project (a bare state dict of its networks included).
        layout: layout of ``source`` if it is a published one; see ``convert_checkpoint``.
        to: "unreid", or the published layout to write.
        trust: unpickle ``source`` without limits; see ``read_file``.

    Returns:
        The network and the config keys that its file implies (none for a file of this project).

    Raises:
        UserError: the file cannot be read, or is not a whole network in a known layout.
    """
    content = read_file(source, trust=trust)
    own = own_weights(content, source) if layout == "auto" else None
    if own is not None:
        converted = Converted(FORMAT, own.model, own.hints)
    else:
        converted = convert_checkpoint(content, layout, str(source))
    require_finite(converted.state, source)
    if to == FORMAT:
        packed: dict[str, Any] = Checkpoint(converted.state, hints=converted.hints).pack()
    else:
        packed = export_state_dict(converted.state, to)
    atomic_save(packed, Path(target))
    return converted


def own_weights(content: Any, origin: str | Path) -> Checkpoint | None:
    """The network in the content of a file under this project's names, or None if it has others.

    That is a checkpoint of this project, or a state dict of one of its networks, in whatever containers; wrappers in
    the names (DataParallel, ``torch.compile``, a module that holds the network) are taken off.

    Raises:
        UserError: the content says that it is a checkpoint of this project and is a damaged one.
    """
    if is_own(content):
        found = unpack(content, origin)
        state = _without_holder(unwrapped(found.model, origin))
        return Checkpoint(state, found.config, found.results, found.feature, found.trainer, found.hints)
    state = _without_holder(unwrapped(find_state(content, origin), origin))
    return Checkpoint(state) if all(any(key.startswith(own) for key in state) for own in _OWN) else None


def weights_for(content: Any, model: nn.Module, origin: str | Path = "the file") -> dict[str, Tensor]:
    """The tensors of a file for ``model``, converted where the file is a published one.

    Args:
        content: what ``read_file`` returned, with this project's names or in a published layout.
        model: the configured ``EmbeddingModel``.

    Raises:
        UserError: unknown layout, or the file needs another config.
    """
    own = own_weights(content, origin)
    if own is not None:
        state, hints = own.model, own.hints
    elif detect_layout(plain_names(find_state(content, origin))) is not None:
        converted = convert_checkpoint(content, origin=str(origin))
        state, hints = converted.state, converted.hints
        if converted.layout == "backbone":  # what follows the backbone is as configured, and new
            own_rest = {key: value for key, value in model.state_dict().items() if not key.startswith("backbone.")}
            state = {key: value for key, value in state.items() if key.startswith("backbone.")} | own_rest
        left_out = without(converted.left_out)
        logger.info("%s: converted from the layout %s%s", origin, converted.layout, left_out and f", {left_out}")
    else:
        state, hints = _custom(find_state(content, origin), model, origin), {}
    require_fit(state, hints, model, str(origin))
    return state


def load_weights(
    content: Any,
    model: nn.Module,
    origin: str | Path,
    *,
    what: str = "the configured model",
    heads: Callable[[str], bool] = is_classifier,
) -> None:
    """Puts the network of a file into ``model``, strictly; its heads, in the file or the model, are left alone.

    Args:
        content: what ``read_file`` returned.
        origin, what: names of the file and of the model for messages.
        heads: whether a tensor may be in one of both only.

    Raises:
        UserError: the file does not fit the configured model, or holds weights that are not finite; nothing is changed.
    """
    expected = {key: value for key, value in model.state_dict().items() if not heads(key)}
    found = fit_domains(weights_for(content, model, origin), expected)
    weights = _on_own_grid({key: value for key, value in found.items() if not heads(key)}, model)
    common = [key for key in weights if key in expected]
    for problem, keys in (
        ("lacks", [key for key in expected if key not in weights]),
        ("has the unknown", [key for key in weights if key not in expected]),
        ("has another shape for", [key for key in common if weights[key].shape != expected[key].shape]),
        ("has another type for", [key for key in common if not same_kind(weights[key].dtype, expected[key].dtype)]),
    ):
        if keys:
            raise UserError(
                f"{origin} does not fit {what}: it {problem} {keys[0]!r} ({len(keys)} tensors in all); "
                "use the config it was trained with (MODEL.BACKBONE.NAME, MODEL.POOLING.NAME, MODEL.EMBED_DIM), or let "
                "the file say it (MODEL.INIT_NETWORK True)."
            )
    require_finite(weights, origin)
    left_out = [key for key in found if heads(key)]
    if left_out:
        logger.info("%s: %s", origin, without(left_out))
    model.load_state_dict({**model.state_dict(), **weights})


def is_head(name: str) -> bool:
    """Whether a network that training starts from may lack a tensor, or have it to no purpose."""
    return is_classifier(name) or name.startswith("part_heads.") or name.startswith("backbone.camera_embed.")


def _on_own_grid(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """With the position embeddings of a vision transformer interpolated to the patches of ``model``."""
    adapt = getattr(model.backbone, "adapt_state_dict", None) if hasattr(model, "backbone") else None
    if adapt is None:
        return weights
    own = below(weights, "backbone.")
    rest = {key: value for key, value in weights.items() if not key.startswith("backbone.")}
    return {f"backbone.{key}": value for key, value in adapt(own).items()} | rest


def require_fit(state: Mapping[str, Tensor], hints: Mapping[str, Any], model: nn.Module, origin: str) -> None:
    """Checks what shapes alone do not show: pooling, stem, strides and the place of the frame average.

    What :data:`CHOICES` lists may be chosen otherwise for a training that starts there, which is a warning only.

    Raises:
        UserError: the file needs another value of a config key; names it.
    """
    has_exponent = "pooling.p" in state
    if has_exponent != isinstance(model.pooling, GeneralizedMeanPooling):
        needed = "gem" if has_exponent else "avg"
        why = "has" if has_exponent else "has no"
        raise UserError(f"{origin} {why} GeM exponent: set MODEL.POOLING.NAME {needed}.")
    for key, value in describe(model).items():
        if hints.get(key, value) == value:
            continue
        if key not in CHOICES:
            raise UserError(f"{origin} was trained with {key} {hints[key]}, the config says {value}: set {key}.")
        logger.warning("%s comes from a repository with %s %s, the config says %s", origin, key, hints[key], value)


def describe(model: nn.Module) -> dict[str, Any]:
    """The config values of a model that decide its features without deciding a shape."""
    backbone = model.backbone
    found: dict[str, Any] = {"MODEL.FRAME_POOL": model.frame_pool, "MODEL.NECK_RELU": model.neck_relu}
    for name in ("stem_relu", "stem_ceil", "last_stride"):
        if hasattr(backbone, name):
            found[f"MODEL.BACKBONE.{name.upper()}"] = getattr(backbone, name)
    return found


def without(names: Sequence[str]) -> str:
    """What was left out, by the first words of the names; "" for nothing."""
    if not names:
        return ""
    words = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))
    if len(words) > SHOWN:
        words = list(dict.fromkeys(name.split(".")[0] for name in names))
    shown = ", ".join(words[:SHOWN]) + (" ..." if len(words) > SHOWN else "")
    return f"{len(names)} tensors left out ({shown})"


def _without_holder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network that another module holds (a mean teacher's ``model.backbone...``), without its name.

    What the holder keeps besides (the counter of an averaged model) is no weight and is left out.
    """
    holder = min(
        (key[: key.index(_OWN[1])] for key in state if f".{_OWN[1]}" in key and not key.startswith(_OWN)), default=""
    )
    if not holder or any(key.startswith(_OWN) for key in state):
        return {key: value for key, value in state.items() if key != "n_averaged"}
    return below(state, holder)


def _custom(state: dict[str, Tensor], model: nn.Module, origin: str | Path) -> dict[str, Tensor]:
    """Tensors that have neither this project's usual names nor published ones; a model of a plug-in may have them."""
    target = model.state_dict()
    plain = unwrapped(state, origin)
    prefix = best_prefix(plain, target)
    found = below(plain, prefix)
    if not any(key in target for key in found):
        raise UserError(
            f"The tensor names of {origin} (such as {next(iter(state))!r}) belong neither to the configured model "
            f"(such as {next(iter(target))!r}) nor to one of the known repositories."
        )
    return found
