"""Keys that no shipped config sets: each belongs to a group with a reason to exist; a new one needs one, too."""

from __future__ import annotations

from pathlib import Path

from unreid.config.keys import DECLARED, KEYS
from unreid.config.sources import read_file

CONFIGS = Path(__file__).parents[2] / "configs"

REASONS = {
    "a user's machine, folders and habits": (
        *("VERSION", "SEED", "RESUME", "OVERWRITE", "PLUGINS", "HOOKS", "MODEL.DEVICE", "MODEL.INIT_PATH"),
        *("MODEL.SYNC_BN", "DATASETS.ROOT", "DATASETS.TESTS", "DATASETS.STRICT", "DATALOADER.CACHE"),
        *("DATALOADER.CACHE_MB", "DATALOADER.SKIP_CORRUPT", "OPTIM.AMP", "OPTIM.COMPILE", "OPTIM.CLIP_GRAD"),
        "OPTIM.CHANNELS_LAST",
        *("CLUSTER.KNN", "MEMORY.STORAGE", "TEST.EVAL_ONLY", "TEST.FLIP", "TEST.RANKED_LIST", "TEST.AMP"),
        *("CHECKPOINT.KEEP", "LOG", "DIST", "MODEL.INIT_NETWORK"),
    ),
    "a user's own data, and the worlds that are rendered": (
        *("DATASETS.FOLDER", "DATASETS.SYNTHETIC", "DATASETS.SYNTHETIC_VIDEO", "DATASETS.MARS_INFO"),
        *("DATASETS.CUHK03", "DATASETS.MSMT17", "DATASETS.CELEBREID", "CLUSTER.ICDBSCAN_CONSTRAINT_PATH"),
        *(
            "DATASETS.SYNTHETIC_SOURCE",
            "CLUSTER.REVIEW",
            "TEST.CAMERA_CENTERED",
            "INPUT.PIXEL_SOURCE",
            "MODEL.NECK_RELU",
        ),
        *("CLUSTER.STR_PATH", "CLUSTER.CCE_PATH", "TEST.CONSTRAINT_PATH", "TEST.CCE_PATH", "TEST.STR_PATH"),
        "CLUSTER.REVIEW",
    ),
    "what a paper varies, or its code and its text do differently": (
        *("METHOD.CDSM.TEACHER_VIEW", "METHOD.ISE.CLAMP_TOPK", "METHOD.ISE.LP.GROUPING", "METHOD.SPCL.FRESH_FEATURES"),
        *("METHOD.AUXUSL.EMA_STEP", "METHOD.BUC.MEMORY_INIT", "METHOD.BUC.MERGE", "MEMORY.RELIABILITY"),
        *("MODEL.DROPOUT_POSITION", "MODEL.EMBED_BIAS", "DATALOADER.LAST_WINDOW", "DATALOADER.SAMPLER.DRAW"),
        *("CLUSTER.CA", "CLUSTER.ICDBSCAN_MODE", "CLUSTER.HDC.THRESHOLD", "CLUSTER.HDC.NORMALIZE_CENTROID"),
        *("CLUSTER.HDC.USE_JACCARD", "OPTIM.SUB_BATCH", "TEST.AP"),
    ),
    "options of the published command lines and config files": (
        *("METHOD.AUXUSL.SOFT_ID_WEIGHT", "METHOD.AUXUSL.SOFT_TRI_WEIGHT", "METHOD.BUC.TEMP"),
        *("METHOD.BUC.EPOCHS_FIRST", "METHOD.BUC.LR_STEP", "MODEL.LOSSES", "MEMORY.SMOOTH", "CLUSTER.EVERY"),
        *("INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD", "INPUT.DO_FLIP", "INPUT.FLIP_PROB", "INPUT.DO_PAD"),
        *("INPUT.PADDING_MODE", "INPUT.REA", "INPUT.CJ", "OPTIM.ADAM_BETA1", "OPTIM.ADAM_BETA2", "OPTIM.GAMMA"),
        *("OPTIM.WARMUP_METHOD", "OPTIM.WARMUP_LR_FACTOR", "TEST.RERANK", "TEST.CCE_LAMBDA"),
    ),
    "a part that no published config takes": (
        *("METHOD.LOSSES", "INPUT.TRANSFORM", "MODEL.BACKBONE", "CLUSTER.SKLEARN", "OPTIM.MIN_LR"),
        *("MEMORY.NEGATIVES", "CLUSTER.MAX_EMPTY_ROUNDS"),
    ),
}


def unset() -> set[str]:
    files = list(CONFIGS.rglob("*.yml"))
    own = KEYS.keys() - set(DECLARED)  # other tests declare some, as plug-ins do
    return own - {setting.key for path in files for setting in read_file(path)}


def test_every_key_that_no_config_sets_has_a_reason() -> None:
    groups = [name for names in REASONS.values() for name in names]
    left = unset()
    found = {name: [key for key in left if key == name or key.startswith(f"{name}.")] for name in groups}
    without = left - {key for keys in found.values() for key in keys}
    assert not without, "give these keys a reason here, or make them constants"
    assert [name for name, keys in found.items() if not keys] == [], "these are set by a config, or gone"
