"""One feature vector per sample from a stream of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unreid.structures import ModelOutput

FEATURES = ("embedding", "pooled", "pooled_l2", "embedding+parts")
AMP_DTYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@torch.no_grad()
def extract_features(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    feature: str,
    num_samples: int,
    device: torch.device | str,
    flip: bool = False,
    amp: str = "off",
    camids: Tensor | None = None,
) -> Tensor:
    """Features of N samples; the frames of a sample pass the model one by one and are averaged.

    The model runs in eval mode and gets its modes back.

    Args:
        model: maps images (F, 3, H, W) to a :class:`~unreid.structures.ModelOutput`.
        loader: batches of images float32 (F, 3, H, W) and their samples int64 (F,) in 0..N-1. A sample may span
            batches; one without frames (unreadable) gets a row of zeros.
        feature: "embedding", the mean over frames of the retrieval embedding, for clips not normalised again
            (AuxUSL); "pooled", the mean of the pooled vectors; "pooled_l2", that mean normalised (BUC);
            "embedding+parts", beside the embedding the normalised features of the model's parts, (N, D + P * C) (PPLR).
        num_samples: N.
        device: where the features are collected and the batches are moved, the model's.
        flip: average with the mirror image, frame by frame; embeddings are normalised after it.
        amp: "off", "bf16" or "fp16": autocast of the forward pass; sums are float32.
        camids: int64 (N,), for a model with a camera embedding; None: the model gets images only.

    Returns:
        float32 (N, D) on ``device``.

    Raises:
        ValueError: unknown ``feature`` or ``amp``.

    Example:
        >>> frames = torch.tensor([1.0, 3.0, 5.0])[:, None, None, None].expand(3, 3, 2, 2)
        >>> model = nn.Identity()
        >>> model.forward = lambda images: ModelOutput(pooled=images.mean((2, 3)), embedding=images[:, :, 0, 0])
        >>> batches = [(frames, torch.tensor([0, 0, 1]))]
        >>> extract_features(model, batches, feature="pooled", num_samples=2, device="cpu")
        tensor([[2., 2., 2.],
                [5., 5., 5.]])
    """
    if feature not in FEATURES:
        raise ValueError(f"feature must be one of {', '.join(FEATURES)}, not {feature!r}")
    if amp not in AMP_DTYPES:
        raise ValueError(f"amp must be one of {', '.join(AMP_DTYPES)}, not {amp!r}")
    sums, frames = (torch.zeros(num_samples, *width, device=device) for width in ((_width(model, feature),), ()))
    camids = None if camids is None else camids.to(device)
    with _eval_mode(model):
        for images, owners in loader:
            images, owners = images.to(device, non_blocking=True), owners.to(device, non_blocking=True)
            more = {} if camids is None else {"camids": camids[owners]}
            values = _frame_features(model, images, feature, flip, AMP_DTYPES[amp], more)
            if not sums.shape[1]:
                sums = values.new_zeros(num_samples, values.shape[1])
            _add_rows(sums, owners, values)
            frames.index_add_(0, owners, torch.ones_like(owners, dtype=torch.float32))
    mean = sums / frames.clamp(min=1).unsqueeze(1)
    return F.normalize(mean) if feature == "pooled_l2" else mean


def _frame_features(
    model: nn.Module, images: Tensor, feature: str, flip: bool, dtype: torch.dtype | None, more: dict[str, Tensor]
) -> Tensor:
    """float32 (F, D), one row per frame; ``more``: what the model takes besides images."""
    views = (images, images.flip(3)) if flip else (images,)
    values = []
    for view in views:
        with torch.autocast(images.device.type, dtype=dtype, enabled=dtype is not None):
            output: ModelOutput = model(view, **more)
        values.append([vector.float() for vector in _vectors(output, feature)])
    if not flip:
        return torch.cat(values[0], dim=1)
    means = [(one + other) / 2 for one, other in zip(*values)]
    return torch.cat([F.normalize(mean) if feature.startswith("embedding") else mean for mean in means], dim=1)


def _vectors(output: ModelOutput, feature: str) -> list[Tensor]:
    """The vectors (F, .) that make up a feature, each normalised by itself where it is an embedding."""
    if not feature.startswith("embedding"):
        return [output.pooled]
    if feature == "embedding":
        return [output.embedding]
    if output.parts is None:
        raise ValueError("the model has no parts")
    return [output.embedding, *F.normalize(output.parts, dim=2).unbind(1)]


def _add_rows(sums: Tensor, owners: Tensor, values: Tensor) -> None:
    """``sums[owners] += values`` with repeated owners, adding in a fixed order on every device."""
    if sums.device.type == "cuda":
        sums.index_put_((owners,), values, accumulate=True)  # sorts; index_add_ would add in the order of arrival
    else:
        sums.index_add_(0, owners, values)


def _width(model: nn.Module, feature: str) -> int:
    """Columns as far as the model states them; 0: the first batch tells."""
    if not feature.startswith("embedding"):
        return int(getattr(model, "pooled_dim", 0))
    return int(getattr(model, "feature_dim", 0)) + (int(getattr(model, "parts_dim", 0)) if "parts" in feature else 0)


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, and every module's own mode afterwards (frozen layers are in eval mode while training)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
