"""Start weights of a backbone: published ones by name, or a file in any of the usual layouts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unreid.models.base import find_backbone
from unreid.models.folded_norms import unfold
from unreid.models.weight_files import below, find_state, read_file, require_finite, unwrapped
from unreid.utils.distributed import barrier, is_main
from unreid.utils.errors import UserError
from unreid.utils.pixels import TIMM

logger = logging.getLogger(__name__)

_PREFERRED = ("base_encoder", "encoder_q", "teacher", "backbone", "model")
"""Which of several equally well fitting encoders of a file is taken (MoCo v3, MoCo v1 and v2, DINO)."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a weight file.

    Attributes:
        prefix: what stood before the backbone's names in the file.
        loaded: names of the backbone's tensors that were set.
        missing: its tensors that the file lacks (BN counters are not counted, here and in ``share``).
        misshaped: its tensors whose shape (or kind of number) in the file differs.
        left_over: names in the file that were not used.
    """

    prefix: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    misshaped: tuple[str, ...]
    left_over: tuple[str, ...]

    @property
    def share(self) -> float:
        """Part of the backbone's tensors that was loaded."""
        return len(self.loaded) / max(1, len(self.loaded) + len(self.missing) + len(self.misshaped))

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.misshaped)
        text = f"{len(self.loaded)} of {total} backbone tensors loaded"
        if self.prefix:
            text += f" (prefix {self.prefix!r})"
        for title, names in (("missing", self.missing), ("other shape", self.misshaped), ("unused", self.left_over)):
            if names:
                text += f"; {len(names)} {title}: {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
        return text


def load_pretrained(
    backbone: nn.Module, name: str, *, version: str = "V1", path: str = "", min_match: float = 0.9
) -> LoadReport:
    """Fills a backbone with start weights and logs what was loaded.

    Args:
        version: published weights to take when there is no ``path``.
        path: weight file: torchvision, timm, IBN-Net, MoCo, DINO and similar layouts.
        min_match: share of the backbone's tensors that must be found.

    Raises:
        UserError: no such weights, they cannot be downloaded or read, or less than ``min_match`` fits.
    """
    if path:
        state, origin = unwrapped(find_state(read_file(path), path), path), path
        require_finite(state, path)
    else:
        state, origin = published_weights(name, version), f"published weights {version} of {name}"
    report = fill_backbone(backbone, state, min_match=min_match, origin=origin)
    problems = report.missing or report.misshaped
    logger.log(logging.WARNING if problems else logging.INFO, "%s: %s", origin, report)
    return report


def fill_backbone(
    backbone: nn.Module, state: Mapping[str, Tensor], *, min_match: float, origin: str = "the file"
) -> LoadReport:
    """Copies the tensors of ``state`` that belong to the backbone, under whatever prefix they stand.

    Raises:
        UserError: less than ``min_match`` of the backbone's tensors fit; nothing is changed then.
    """
    network = getattr(backbone, "inner", backbone)
    prefix = best_prefix(state, network.state_dict())
    stripped = below(state, prefix)
    readings = [stripped, *getattr(backbone, "translations", lambda _: ())(state)]
    compared: list[tuple[LoadReport, dict[str, Tensor]]] = []
    for reading in readings:
        try:
            compared.append(_compare(backbone, network, reading, state, prefix))
        except (RuntimeError, ValueError, LookupError, AssertionError, AttributeError, TypeError) as error:
            failed = error  # of several readings most fit nothing
    if not compared:
        reason = str(failed).splitlines()[0] if str(failed) else type(failed).__name__
        raise UserError(f"{origin} does not fit the backbone: {reason}.") from failed
    report, fitting = max(compared, key=lambda pair: pair[0].share)
    if report.share < min_match:
        raise UserError(
            f"Only {report.share:.0%} of the backbone's tensors fit {origin} (MODEL.BACKBONE.MIN_MATCH asks for "
            f"{min_match:.0%}): {report}. Check that MODEL.BACKBONE.NAME is the network the file was made for."
        )
    network.load_state_dict(fitting, strict=False)
    return report


def _compare(
    backbone: nn.Module,
    network: nn.Module,
    reading: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    prefix: str,
) -> tuple[LoadReport, dict[str, Tensor]]:
    """What of ``state``, under the names of ``reading``, fits ``network``."""
    target = network.state_dict()
    adapt = getattr(backbone, "adapt_state_dict", dict)
    found = unfold(adapt(reading), network)
    counted = [key for key in target if not key.endswith("num_batches_tracked")]
    fitting = {
        key: found[key]
        for key in target
        if key in found
        and found[key].shape == target[key].shape
        and found[key].is_floating_point() == target[key].is_floating_point()
    }
    used = {value.data_ptr() for value in fitting.values()}
    report = LoadReport(
        prefix=prefix,
        loaded=tuple(key for key in counted if key in fitting),
        missing=tuple(key for key in counted if key not in found),
        misshaped=tuple(key for key in counted if key in found and key not in fitting),
        left_over=tuple(
            key
            for key, value in state.items()
            if value.data_ptr() not in used and (key.removeprefix(prefix) not in target or not key.startswith(prefix))
        ),
    )
    return report, fitting


def best_prefix(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str:
    """The prefix under which most names of ``target`` stand in ``state``; among equals a preferred, then the shortest.

    Files of MoCo and DINO hold two encoders, with equal names but for the prefix.
    """
    votes: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in target:
                votes["".join(f"{part}." for part in parts[:cut])] += 1

    def rank(prefix: str) -> tuple[int, int, int]:
        preferred = any(word in prefix for word in _PREFERRED)
        return votes[prefix], int(preferred), -len(prefix)

    return max(votes, key=rank) if votes else ""


def published_weights(name: str, version: str = "V1") -> dict[str, Tensor]:
    """The state dict of a backbone's published weights, from the local cache or downloaded into it.

    Raises:
        UserError: there are none, or they cannot be downloaded.
    """
    if name.startswith(TIMM):
        from unreid.models.timm_network import published

        return _download(lambda: published(name.removeprefix(TIMM)), name, "from the hub of timm")
    source = find_backbone(name).weights
    if source is None or version not in source.versions:
        known = ", ".join(source.versions) if source else ""
        hint = f"MODEL.BACKBONE.PRETRAIN_VERSION can be {known}" if known else "set MODEL.BACKBONE.PRETRAIN False"
        raise UserError(f"There are no published weights {version} for {name}: {hint}, or give PRETRAIN_PATH a file.")
    place = source.versions[version]
    return _download(lambda: _fetch(place), name, place)


def _download(fetch: Callable[[], dict[str, Tensor]], name: str, place: str) -> dict[str, Tensor]:
    try:
        if not is_main():
            barrier()  # rank 0 fills the cache, the others read it
        weights = fetch()
        if is_main():
            barrier()
        return weights
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"The weights of {name} ({place}) could not be downloaded ({reason}): put the file on this machine and "
            "set MODEL.BACKBONE.PRETRAIN_PATH to it, or start from random weights with MODEL.BACKBONE.PRETRAIN False."
        ) from error


def warn_about_pixel_statistics(name: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Logs a warning if the run normalises pixels otherwise than the training of the published weights did."""
    source = find_backbone(name).weights
    if source and not (_close(source.mean, mean) and _close(source.std, std)):
        logger.warning("%s was trained with pixel mean %s and std %s; INPUT has others", name, source.mean, source.std)


def _fetch(place: str) -> dict[str, Tensor]:
    kind, _, rest = place.partition(":")
    if kind == "torchvision":
        from torchvision.models import get_weight

        return dict(get_weight(rest).get_state_dict(progress=False, check_hash=True))
    return find_state(
        torch.hub.load_state_dict_from_url(
            place, map_location="cpu", progress=False, check_hash=True, weights_only=True
        ),
        place,
    )


def _close(a: Sequence[float], b: Sequence[float]) -> bool:
    return len(a) == len(b) and all(abs(x - y) < 1e-3 for x, y in zip(a, b))
