"""What values a key may have, beyond its type: ``RULES[full key]``.

Keys without a rule are switches, paths, and names that a registry checks when the component is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """A condition on one value and its wording, which completes "KEY must be ..."."""

    allowed: str
    accepts: Callable[[Any], bool]


def choice(*values: Any) -> Rule:
    """One of the values."""
    return Rule("one of " + ", ".join(repr(value) for value in values), lambda value: value in values)


def at_least(low: float) -> Rule:
    """``low`` or more."""
    return Rule(f"at least {low}", lambda value: value >= low)


def at_most(high: float) -> Rule:
    """``high`` or less."""
    return Rule(f"at most {high}", lambda value: value <= high)


def above(low: float) -> Rule:
    """More than ``low``."""
    return Rule(f"above {low}", lambda value: value > low)


def between(low: float, high: float) -> Rule:
    """From ``low`` to ``high``, both included."""
    return Rule(f"between {low} and {high}", lambda value: low <= value <= high)


def share() -> Rule:
    """Above 0, up to 1."""
    return Rule("above 0 and at most 1", lambda value: 0 < value <= 1)


def decay() -> Rule:
    """From 0 up to, not including, 1."""
    return Rule("at least 0 and below 1", lambda value: 0 <= value < 1)


def each(rule: Rule, length: int | None = None, empty: bool = False) -> Rule:
    """A list whose values all obey ``rule``; with ``length``, exactly that many of them."""
    count = f"{length} values" if length else "a list of values" if empty else "a list of one or more values"

    def accepts(values: Any) -> bool:
        right_length = len(values) == length if length else empty or len(values) > 0
        return right_length and all(rule.accepts(value) for value in values)

    return Rule(f"{count}, each {rule.allowed}", accepts)


def matching(pattern: str, allowed: str) -> Rule:
    """Text that matches a regular expression as a whole."""
    return Rule(allowed, lambda value: re.fullmatch(pattern, value) is not None)


def capturing_regex() -> Rule:
    """A regular expression with a group, or nothing."""

    def accepts(value: str) -> bool:
        try:
            return not value or re.compile(value).groups >= 1
        except re.error:
            return False

    return Rule("a valid regular expression with a group in parentheses, or empty", accepts)


_NAME = matching(r"\S.*", "a name")
_NUMBER = Rule("a number", lambda value: isinstance(value, (int, float)))

_GENERAL = {
    "VERSION": choice(1),
    "SEED": between(0, 2**32 - 1),
    "OUTPUT_DIR": matching(r".+", "a folder"),
    "PRINT_PERIOD": at_least(1),
    "CHECKPOINT.PERIOD": at_least(0),
    "CHECKPOINT.KEEP": at_least(0),
    "LOG.CLUSTER_IMAGES": at_least(0),
}

_METHOD = {
    "METHOD.NAME": _NAME,
    "METHOD.EXTRAS": each(_NAME, empty=True),
    "METHOD.CDSM.TEACHER_VIEW": choice("strong", "base"),
    "METHOD.ISE.TOPK": at_least(1),
    "METHOD.ISE.SUPPORT_BASE_LAMBDA": at_least(0),
    "METHOD.ISE.LP.WEIGHT": at_least(0),
    "METHOD.ISE.LP.TEMP": above(0),
    "METHOD.ISE.LP.GROUPING": choice("label", "chunk"),
    "METHOD.AUXUSL.SOFT_ID_WEIGHT": between(0, 1),
    "METHOD.AUXUSL.SOFT_TRI_WEIGHT": between(0, 1),
    "METHOD.AUXUSL.EMA_STEP": choice("global", "epoch"),
    "METHOD.BUC.MERGE_PERCENT": share(),
    "METHOD.BUC.SIZE_PENALTY": at_least(0),
    "METHOD.BUC.ROUNDS": at_least(0),
    "METHOD.BUC.TEMP": above(0),
    "METHOD.BUC.MEMORY_INIT": choice("zero", "cluster_mean"),
    "METHOD.BUC.EPOCHS_FIRST": at_least(1),
    "METHOD.BUC.EPOCHS_LATER": at_least(0),
    "METHOD.BUC.LR_FIRST": at_least(0),
    "METHOD.BUC.LR_LATER": at_least(0),
    "METHOD.BUC.LR_STEP": at_least(1),
    "METHOD.BUC.MERGE.DISTANCE": choice("sqeuclidean", "euclidean"),
    "METHOD.BUC.MERGE.LINKAGE": choice("min", "centroid", "max"),
    "METHOD.BUC.MERGE.ROUNDING": choice("floor", "ceil"),
    "METHOD.BUC.MERGE.BLOCK": at_least(1),
    "METHOD.BUC.MERGE.POOL_FACTOR": at_least(1),
    "WARMUP.EPOCHS": at_least(0),
    "WARMUP.ITERS": at_least(1),
    "WARMUP.BATCH_SIZE": at_least(2),
    "WARMUP.TEMP": above(0),
    "WARMUP.CHANNEL_JITTER": at_least(0),
}

_MODEL = {
    "MODEL.DEVICE": matching(r"auto|cpu|cuda(:\d+)?", "'auto', 'cpu', 'cuda' or 'cuda:N'"),
    "MODEL.BN_CHUNKS": at_least(1),
    "MODEL.RECALIBRATE_BN": at_least(0),
    "MODEL.EMBED_DIM": at_least(0),
    "MODEL.DROPOUT": decay(),
    "MODEL.DROPOUT_POSITION": choice("after_norm", "before_norm"),
    "MODEL.FRAME_POOL": choice("after_bottleneck", "before_bottleneck"),
    "MODEL.FREEZE_AT": choice("", "stem", "layer1", "layer2", "layer3", "layer4"),
    "MODEL.BACKBONE.NAME": _NAME,
    "MODEL.BACKBONE.LAST_STRIDE": choice(1, 2),
    "MODEL.BACKBONE.PRETRAIN_VERSION": choice("V1", "V2"),
    "MODEL.BACKBONE.MIN_MATCH": between(0, 1),
    "MODEL.BACKBONE.WIDTH": at_least(1),
    "MODEL.BACKBONE.CAMERAS": at_least(0),
    "MODEL.BACKBONE.STRIDE": between(1, 16),
    "MODEL.POOLING.NAME": _NAME,
    "MODEL.POOLING.STRIPES": at_least(1),
    "MODEL.EMA.ALPHA": between(0, 1),
    "MODEL.LOSSES.ID_OPTION": choice(1, 2, 3),
    "MODEL.LOSSES.ID_K": at_least(1),
    "MODEL.LOSSES.CE.EPSILON": decay(),
    "MODEL.LOSSES.TRI_OPTION": choice(1, 2),
    "MODEL.LOSSES.TRI_MARGIN": at_least(0),
    "MODEL.LOSSES.TRI_LAMBDA": at_most(0),
    "MEMORY.NAME": _NAME,
    "MEMORY.UPDATE": _NAME,
    "MEMORY.TEMP": above(0),
    "MEMORY.MOMENTUM": between(0, 1),
    "MEMORY.NUM_INSTANCES": at_least(1),
    "MEMORY.HARD_WEIGHT": between(0, 1),
    "MEMORY.SMOOTH": decay(),
    "MEMORY.NEGATIVES": at_least(0),
    "MEMORY.STORAGE": choice("float32", "float16"),
    "MEMORY.RELIABILITY": choice("or", "and", "off"),
}

_CLUSTER = {
    "CLUSTER.NAME": _NAME,
    "CLUSTER.METRIC": choice("jaccard", "euclidean", "cosine"),
    "CLUSTER.FEATURE": choice("method", "raw", "l2"),
    "CLUSTER.K1": at_least(1),
    "CLUSTER.K2": at_least(1),
    "CLUSTER.EPS": above(0),
    "CLUSTER.EPS_GAP": at_least(0),
    "CLUSTER.TOL": at_least(0),
    "CLUSTER.MIN_SAMPLES": at_least(1),
    "CLUSTER.MIN_SIZE": at_least(0),
    "CLUSTER.RHO": share(),
    "CLUSTER.EPS_ZERO_TOL": at_least(0),
    "CLUSTER.NUM_CLUSTERS": at_least(1),
    "CLUSTER.REL_RATIO": between(0, 1),
    "CLUSTER.SELF_PACED_QUANTILE": between(0, 1),
    "CLUSTER.EVERY": at_least(1),
    "CLUSTER.MAX_EMPTY_ROUNDS": at_least(1),
    "CLUSTER.BACKEND": choice("auto", "scipy", "torch", "numba"),
    "CLUSTER.KNN.BACKEND": choice("torch", "torch_bf16", "faiss_flat", "faiss_ivf", "faiss_hnsw"),
    "CLUSTER.KNN.NPROBE": at_least(1),
    "CLUSTER.KNN.EF_SEARCH": at_least(1),
    "CLUSTER.WARMUP.ROUNDS": at_least(0),
    "CLUSTER.HDC.INIT": choice("k-means++2", "k-means++", "random"),
    "CLUSTER.HDC.MAX_ITER": at_least(1),
    "CLUSTER.HDC.MIN_ITER": at_least(0),
    "CLUSTER.HDC.N_TOL": at_least(1),
    "CLUSTER.HDC.N_SIGMA": _NUMBER,
    "CLUSTER.HDC.THRESHOLD": at_least(0),
    "CLUSTER.HDC.SIMILARITY": choice("euler_cosine", "cosine", "euclidean"),
    "CLUSTER.HDC.CONF_SCALE": at_least(0),
    "CLUSTER.HDC.BLOCK": at_least(1),
    "CLUSTER.ICDBSCAN_RELAXED": _NUMBER,
    "CLUSTER.ICDBSCAN_MODE": choice("clean", "ordered"),
    "CLUSTER.STR_LAMBDA": between(0, 1),
    "CLUSTER.STR_GAMMA": at_least(0),
    "CLUSTER.CCE_LAMBDA": at_least(0),
}

_DATA = {
    "DATASETS.NAMES": each(_NAME),
    "DATASETS.TESTS": each(_NAME, empty=True),
    "DATASETS.MODE": choice("all", "dense"),
    "DATASETS.DENSE_STEP": at_least(1),
    "DATASETS.CUHK03": choice("detected", "labeled"),
    "DATASETS.MSMT17": choice("auto", "v1", "v2", "market"),
    "DATASETS.CELEBREID": choice("own", "reference"),
    "DATASETS.SYNTHETIC.PRESET": choice("default", "hard"),
    "DATASETS.SYNTHETIC.SEED": at_least(0),
    "DATASETS.SYNTHETIC.TRAIN_IDS": at_least(1),
    "DATASETS.SYNTHETIC.TEST_IDS": at_least(1),
    "DATASETS.SYNTHETIC.CAMERAS": at_least(1),
    "DATASETS.SYNTHETIC.IMAGES_PER_CAMERA": at_least(2),
    "DATASETS.SYNTHETIC.DISTRACTORS": at_least(0),
    "DATASETS.SYNTHETIC.HEIGHT": at_least(16),
    "DATASETS.SYNTHETIC.WIDTH": at_least(8),
    "DATASETS.SYNTHETIC_VIDEO.PRESET": choice("default", "hard"),
    "DATASETS.SYNTHETIC_VIDEO.SEED": at_least(0),
    "DATASETS.SYNTHETIC_VIDEO.TRAIN_IDS": at_least(1),
    "DATASETS.SYNTHETIC_VIDEO.TEST_IDS": at_least(1),
    "DATASETS.SYNTHETIC_VIDEO.CAMERAS": at_least(2),
    "DATASETS.SYNTHETIC_VIDEO.FRAMES": each(at_least(1), length=2),
    "DATASETS.SYNTHETIC_VIDEO.DISTRACTORS": at_least(0),
    "DATASETS.SYNTHETIC_VIDEO.HEIGHT": at_least(16),
    "DATASETS.SYNTHETIC_VIDEO.WIDTH": at_least(8),
    "DATASETS.FOLDER.CAMERA_REGEX": capturing_regex(),
    "DATASETS.FOLDER.PID_REGEX": capturing_regex(),
    "DATALOADER.TRAIN_BATCH_SIZE": at_least(1),
    "DATALOADER.NUM_INSTANCE": at_least(1),
    "DATALOADER.ITERS": at_least(0),
    "DATALOADER.ITERS_CLUSTER_MULTIPLIER": _NUMBER,
    "DATALOADER.TEST_BATCH_SIZE": at_least(1),
    "DATALOADER.NUM_WORKERS": at_least(0),
    "DATALOADER.TRAIN_SEQ_LEN": at_least(1),
    "DATALOADER.CLUSTER_SEQ_LEN": at_least(0),
    "DATALOADER.MAX_FRAMES": at_least(0),
    "DATALOADER.TRAIN_FRAMES": choice("window", "subset"),
    "DATALOADER.CACHE": choice("auto", "ram", "device", "off"),
    "DATALOADER.CACHE_MB": at_least(0),
    "DATALOADER.SAMPLER.NAME": _NAME,
    "DATALOADER.SAMPLER.DRAW": choice("3c", "cc"),
    "DATALOADER.SAMPLER.SINGLETON": choice("skip", "repeat", "emit"),
    "INPUT.SIZE_TRAIN": each(at_least(1), length=2),
    "INPUT.SIZE_TEST": each(at_least(1), length=2),
    "INPUT.INTERPOLATION": choice("bicubic", "bilinear"),
    "INPUT.PIXEL_MEAN": each(between(0, 1), length=3),
    "INPUT.PIXEL_STD": each(above(0), length=3),
    "INPUT.FLIP_PROB": between(0, 1),
    "INPUT.PADDING": at_least(0),
    "INPUT.PADDING_MODE": choice("constant", "reflect", "edge"),
    "INPUT.CHANNEL_JITTER": at_least(0),
    "INPUT.REA.PROB": between(0, 1),
    "INPUT.REA.MEAN": each(between(0, 1), length=3),
    "INPUT.REA.VARIANT": choice("zhong", "torchvision"),
    "INPUT.CJ.PROB": between(0, 1),
    "INPUT.CJ.BRIGHTNESS": at_least(0),
    "INPUT.CJ.CONTRAST": at_least(0),
    "INPUT.CJ.SATURATION": at_least(0),
    "INPUT.CJ.HUE": between(0, 0.5),
}

_OPTIM = {
    "OPTIM.OPT": choice("adam", "adamw", "sgd"),
    "OPTIM.LR": at_least(0),
    "OPTIM.BACKBONE_LR_MULT": at_least(0),
    "OPTIM.WEIGHT_DECAY": at_least(0),
    "OPTIM.ADAM_BETA1": decay(),
    "OPTIM.ADAM_BETA2": decay(),
    "OPTIM.MOMENTUM": decay(),
    "OPTIM.EPOCHS": at_least(1),
    "OPTIM.SCHED": choice("step", "multistep", "cosine", "constant"),
    "OPTIM.STEPS": each(at_least(1)),
    "OPTIM.GAMMA": above(0),
    "OPTIM.MIN_LR": at_least(0),
    "OPTIM.WARMUP_EPOCHS": at_least(0),
    "OPTIM.WARMUP_FACTOR": between(0, 1),
    "OPTIM.WARMUP_METHOD": choice("linear", "constant"),
    "OPTIM.WARMUP_VERSION": choice("v1", "v2"),
    "OPTIM.WARMUP_LR_FACTOR": above(0),
    "OPTIM.AMP": choice("off", "bf16", "fp16"),
    "OPTIM.CLIP_GRAD": at_least(0),
    "OPTIM.SUB_BATCH": at_least(0),
}

_TEST = {
    "TEST.EVAL_PERIOD": at_least(0),
    "TEST.SELECT": Rule(
        "one of 'last', 'best_test', 'label_free', or 'round:N' with a number N",
        lambda value: re.fullmatch(r"last|best_test|label_free|round:\d+", value) is not None,
    ),
    "TEST.AP": choice("step", "trapezoid"),
    "TEST.RANKED_LIST": at_least(0),
    "TEST.AMP": choice("off", "bf16", "fp16"),
    "TEST.RERANK.K1": at_least(1),
    "TEST.RERANK.K2": at_least(1),
    "TEST.RERANK.LAMBDA": between(0, 1),
    "TEST.CCE_LAMBDA": at_least(0),
}

RULES: dict[str, Rule] = {**_GENERAL, **_METHOD, **_MODEL, **_CLUSTER, **_DATA, **_OPTIM, **_TEST}
