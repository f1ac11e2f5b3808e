"""Spellings of AuxUSLReID's config files that this tree writes differently, and what each of them becomes.

Their other keys have the same names here, or say in ``keys/`` how they were called (``formerly``). An old config states
what differs from AuxUSLReID's defaults, so it wants ``_BASE_`` set to this project's AuxUSL base file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unreid.config.keys import FORMER
from unreid.config.sources import Setting
from unreid.config.values import literal
from unreid.config.wording import shown
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moved:
    """The same meaning under other names; every new key gets ``convert(value)``, or the value itself.

    ``convert`` raises ``ValueError`` with the way out for a value that has no counterpart.
    """

    keys: tuple[str, ...]
    convert: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Ignored:
    """No effect here, for the given reason."""

    reason: str


@dataclass(frozen=True)
class Only:
    """Accepted, without effect, at the value that leaves results as they are; any other value is refused."""

    value: Any
    reason: str


def _lookup(table: dict[str, Any], way_out: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return table[str(value).lower()]
        except KeyError:
            raise ValueError(way_out) from None

    return convert


def _period(value: Any) -> int:
    """SAVE_STEP: a negative first entry means every so many epochs."""
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, int) or first >= 0:
        raise ValueError("lists of epochs are not offered; set CHECKPOINT.PERIOD and TEST.EVAL_PERIOD to a period")
    return -first


_UNREAD = Ignored("AuxUSLReID never read it")
_TARGETS = {"mars": ["MARS"], "duke": ["DukeMTMCVideoReID"]}

RENAMED: dict[str, Moved | Ignored | Only] = {
    "MODE": Moved(("METHOD.NAME",), _lookup({"usl": "AuxUSL", "usl_mtcluster_base": "AuxUSL"}, "set METHOD.NAME")),
    "DATASETS.TARGET": Moved(("DATASETS.NAMES",), _lookup(_TARGETS, "set DATASETS.NAMES to one of this project's")),
    "DATASETS.NAME": Ignored("a dataset knows its folder's name below DATASETS.ROOT"),
    "DATASETS.DUKE_INFO": Ignored("no split files are kept beside the images"),
    "DATASETS.SOURCE": _UNREAD,
    "DATALOADER.ITER_MODE": Only(True, "epochs always have DATALOADER.ITERS steps; 0 means one pass"),
    "DATALOADER.CLUSTER_BATCH_SIZE": Ignored("extraction runs in TEST_BATCH_SIZE images, which changes no result"),
    "DATALOADER.SAMPLE_CONSTRAINT": Only(False, "training clips come from the whole tracklet"),
    "DATALOADER.SAMPLE_CONSTRAINT_EXT_SIZE": Ignored("it belongs to SAMPLE_CONSTRAINT"),
    "DATALOADER.CLUSTER_SAMPLE_MULTI": Only(1, "a tracklet enters clustering once"),
    "OPTIM.FORWARD_BATCH_SIZE": Ignored(
        "losses see the whole batch, as in the published runs; OPTIM.SUB_BATCH gives the single-GPU code path"
    ),
    "OPTIM.SGD_DAMPENING": Only(0, "SGD runs without dampening"),
    "OPTIM.RMSPROP_ALPHA": Ignored("RMSprop is not offered"),
    "OPTIM.WARMUP_ITERS": Ignored("AuxUSLReID never built its warm-up; OPTIM.WARMUP_EPOCHS switches one on"),
    "OPTIM.COSINE_MAX_EPOCH": Ignored("a cosine ends with OPTIM.EPOCHS"),
    "CHECKPOING.SAVE_STEP": Moved(("CHECKPOINT.PERIOD", "TEST.EVAL_PERIOD"), _period),
    "CHECKPOINT.SAVE_STEP": Moved(("CHECKPOINT.PERIOD", "TEST.EVAL_PERIOD"), _period),
    "CHECKPOING.REMAIN_CLASSIFIER": Ignored("a checkpoint always holds the whole model"),
    "CHECKPOINT.REMAIN_CLASSIFIER": Ignored("a checkpoint always holds the whole model"),
    "TEST.PRINT_PERIOD": Ignored("PRINT_PERIOD is the only one"),
    "GPU_DEVICE": Ignored(
        "start one process a GPU with torchrun; MODEL.BN_CHUNKS 4 gives the BatchNorm statistics of four GPUs"
    ),
    "CUDNN_BENCHMARK": Ignored("runs are repeatable, so cuDNN does not choose by timing"),
    "MODEL.ARCH": Moved(("MODEL.BACKBONE.NAME",), _lookup({"resnet50bnn": "resnet50"}, "set MODEL.BACKBONE.NAME")),
    "EVAL_PERIOD": _UNREAD,
    "PRETRAIN_PATH": _UNREAD,
}

RENAMED_SECTIONS: dict[str, Ignored] = {"BACKBONE": _UNREAD, "HYBRIDMEMORY": _UNREAD}

_INNER = Ignored("it changed memory and time by little, and results not at all")
_FIXED = "it was a constant of the method that no published run changed"
_EXACT = "for a better search take the exact CLUSTER.KNN.BACKEND torch or torch_bf16"
GONE: dict[str, Ignored | Only] = {
    "METHOD.BUC.MERGE.BLOCK": _INNER,
    "METHOD.BUC.MERGE.POOL_FACTOR": _INNER,
    "CLUSTER.HDC.BLOCK": _INNER,
    "CLUSTER.BACKEND": Ignored("the device decides: scipy on a CPU, torch elsewhere, with the same result"),
    "CLUSTER.TOL": Only(1e-6, "structural ties at a radius are decided alike on every machine"),
    "CLUSTER.EPS_ZERO_TOL": Only(1e-6, "smaller distances are duplicates"),
    "CLUSTER.REL_RATIO": Only(0.2, _FIXED),
    "CLUSTER.SELF_PACED_QUANTILE": Only(0.9, _FIXED),
    "CLUSTER.KNN.NPROBE": Only(
        32, "the exact CLUSTER.KNN.BACKEND torch or torch_bf16 takes the place of a wider search"
    ),
    "CLUSTER.KNN.EF_SEARCH": Only(
        128, "the exact CLUSTER.KNN.BACKEND torch or torch_bf16 takes the place of a wider search"
    ),
    "CLUSTER.CA.K2_FIRST": Only(3, _FIXED),
    "CLUSTER.HDC.MIN_ITER": Only(10, _FIXED),
    "CLUSTER.HDC.N_TOL": Only(4, _FIXED),
    "CLUSTER.HDC.N_SIGMA": Only(1.0, _FIXED),
    "CLUSTER.HDC.CONF_SCALE": Only(5.0, _FIXED),
    "MEMORY.CONVEX": Only(False, "the published mix is the only one"),
    "MEMORY.RENORMALIZE": Only(False, "the published update is the only one"),
    "METHOD.PPLR.HARD_NEGATIVES": Only(50, _FIXED),
    "METHOD.PPLR.TEMP": Only(0.07, _FIXED),
    "METHOD.AUXUSL.DETACH_WATL_WEIGHT": Only(False, "the published gradient is the only one"),
    "METHOD.BUC.MERGE.ROUNDING": Only("floor", "the rounding of the published code is the only one"),
    "TEST.RERANK.SQUARE_INPUT": Only(True, "re-ranking squares as published"),
    "LOG.CHECK_RANKS": Only(False, "name the hook instead: HOOKS \"['RankCheck']\""),
}
"""Keys of earlier layouts of this tree, which configs of finished runs still hold."""

OLD_VALUES: dict[str, dict[str, str]] = {
    "OPTIM.SCHED": {"single_step": "step", "warmupmultisteplr": "multistep"},
    "MODEL.LOSSES.ID_OPTION": {"1": "cross_entropy", "2": "label_smoothing", "3": "ranked_label_smoothing"},
    "MODEL.LOSSES.TRI_OPTION": {"1": "triplet", "2": "watl"},
}


def translate(settings: Sequence[Setting], known: Callable[[str], bool]) -> Iterator[Setting]:
    """The same settings in the names of this tree; every old spelling is logged as a warning.

    Args:
        settings: full keys as written.
        known: whether the tree has a key; such keys pass as they are.

    Raises:
        UserError: an old key has a value that this project does not offer.
    """
    for setting in settings:
        old_value = OLD_VALUES.get(setting.key, {}).get(str(literal(setting.value)))
        if old_value is not None:
            _warn(setting, f"{setting.value} is called {old_value} here")
            yield replace(setting, value=old_value)
        elif known(setting.key):
            yield setting
        else:
            yield from _translate_key(setting)


def successor(key: str) -> Moved | Ignored | Only | None:
    """What has become of an old full key, in capitals or not; None for a key that never was."""
    for name in (key, key.upper()):
        if name in FORMER:
            return Moved((FORMER[name],))
        if name in RENAMED or name in GONE:
            return RENAMED.get(name) or GONE[name]
    return RENAMED_SECTIONS.get(key.partition(".")[0])


def _translate_key(setting: Setting) -> Iterator[Setting]:
    entry = successor(setting.key)
    if entry is None:
        yield setting
    elif isinstance(entry, Ignored):
        _warn(setting, f"ignored: {entry.reason}")
    elif isinstance(entry, Only):
        if literal(setting.value) != entry.value:
            got = shown(str(literal(setting.value)))
            raise UserError(f"{setting.key} can only be {entry.value}, got {got} ({setting.origin}): {entry.reason}.")
        if setting.key not in GONE:  # configs of finished runs hold every key of their time
            _warn(setting, f"ignored: {entry.reason}")
    else:
        try:
            value = entry.convert(literal(setting.value)) if entry.convert else setting.value
        except ValueError as error:
            got = shown(str(literal(setting.value)))
            raise UserError(f"{setting.key} {got} has no counterpart here ({setting.origin}): {error}.") from None
        _warn(setting, f"now called {' and '.join(entry.keys)}, set to {shown(repr(value))}")
        for key in entry.keys:
            yield replace(setting, key=key, value=value)


def _warn(setting: Setting, what: str) -> None:
    logger.warning("%s (%s): %s", shown(setting.key), setting.origin, what)
