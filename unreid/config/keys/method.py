"""METHOD and WARMUP: what a method adds to the parts, and the label-free start."""

from __future__ import annotations

from unreid.config.conditions import (
    EPOCHS,
    NAME,
    NEIGHBORS,
    RATE,
    STEPS,
    STRENGTH,
    SWITCH,
    TEMPERATURE,
    WEIGHT,
    between,
    choice,
    each,
    matching,
)
from unreid.config.key import Key, Section

KEYS: dict[str, Key | Section] = {
    "METHOD.NAME": Key(
        "ClusterContrast", NAME, "ClusterContrast, SpCL, SpCL_UDA, CDSM, ISE, CCC, AuxUSL, BUC, CAP, O2CAP, PPLR"
    ),
    "METHOD.EXTRAS": Key(
        [],
        each(NAME, empty=True),
        'further parts for any cluster-memory method: "support_samples" (ISE), "camera_entropy" (3C)',
    ),
    "METHOD.LOSSES": Key(
        [],
        each(matching(r"[^\s=][^=]*(=[0-9]{1,4}(\.[0-9]{1,9})?)?", "the name of a loss, or NAME=WEIGHT"), empty=True),
        'further losses for any cluster-memory method, weights after "=": ["triplet=0.5"]',
    ),
    "METHOD.CDSM.TEACHER_VIEW": Key(
        "strong", NAME, 'transform of what the teacher sees: "strong" (published) or "base" (no crop, no erasing)'
    ),
    "METHOD.ISE.TOPK": Key(1, between(1, 1000), "support samples per real sample (nearest other clusters)"),
    "METHOD.ISE.SUPPORT_BASE_LAMBDA": Key(1.0, WEIGHT, "base of the progressive interpolation degree"),
    "METHOD.ISE.SUPPORT_IN_MEMORY": Key(True, SWITCH, "supports enter the memory loss and the memory update"),
    "METHOD.ISE.CLAMP_TOPK": Key(
        False, SWITCH, "with fewer clusters than TOPK + 1 use what there is instead of stopping"
    ),
    "METHOD.ISE.LP.WEIGHT": Key(0.1, WEIGHT, "weight of the label-preserving loss; 0 switches it off"),
    "METHOD.ISE.LP.TEMP": Key(0.6, TEMPERATURE, "its temperature"),
    "METHOD.ISE.LP.GROUPING": Key(
        "label", choice("label", "chunk"), 'negatives grouped by "label", or by "chunk" of the batch (as published)'
    ),
    "METHOD.SPCL.FRESH_FEATURES": Key(False, SWITCH, "cluster freshly extracted features instead of the memory rows"),
    "METHOD.CCC.CIE": Key(
        True, SWITCH, "CCC weighs samples by the camera information entropy of their cluster (others: EXTRAS)"
    ),
    "METHOD.AUXUSL.SOFT_ID_WEIGHT": Key(
        0.5,
        between(0, 1),
        "share of the teacher's soft labels in the ID loss",
        formerly=("MUTUAL_TEACH.CE_SOFT_WRIGHT", "MUTUAL_TEACH.CE_SOFT_WEIGHT"),
    ),
    "METHOD.AUXUSL.SOFT_TRI_WEIGHT": Key(
        0.8,
        between(0, 1),
        "share of the teacher's soft triplets in the triplet loss",
        formerly=("MUTUAL_TEACH.TRI_SOFT_WRIGHT", "MUTUAL_TEACH.TRI_SOFT_WEIGHT"),
    ),
    "METHOD.AUXUSL.EMA_STEP": Key(
        "global", choice("global", "epoch"), 'EMA counter: real "global" step or the published "epoch" formula'
    ),
    "METHOD.PPLR.K": Key(20, NEIGHBORS, "neighbours of an image (itself included) that whole and part are compared by"),
    "METHOD.PPLR.BETA": Key(0.5, between(0, 1), "share of the pseudo label in the refined label"),
    "METHOD.PPLR.AALS_ROUND": Key(5, EPOCHS, "round from which parts are smoothed by agreement; before it by 0.1"),
    "METHOD.PPLR.CAMERAS": Key(False, SWITCH, "the contrast with the same cluster in other cameras"),
    "METHOD.PPLR.CAMERA_WEIGHT": Key(0.5, WEIGHT, "its weight (MSMT17: 1.0)"),
    "METHOD.BUC.MERGE_PERCENT": Key(0.05, between(1e-6, 0.99), "share of N that one merge removes"),
    "METHOD.BUC.SIZE_PENALTY": Key(0.003, WEIGHT, "lambda, weight of the size term"),
    "METHOD.BUC.ROUNDS": Key(0, EPOCHS, "training rounds; 0: floor(1 / MERGE_PERCENT) - 1"),
    "METHOD.BUC.TEMP": Key(0.1, TEMPERATURE, "softmax temperature of the exclusive loss"),
    "METHOD.BUC.MEMORY_INIT": Key(
        "zero",
        choice("zero", "cluster_mean"),
        'table at the start of a round: "zero" or "cluster_mean" (of the new labels)',
    ),
    "METHOD.BUC.EPOCHS_FIRST": Key(20, STEPS, "epochs of the first round"),
    "METHOD.BUC.EPOCHS_LATER": Key(0, EPOCHS, "epochs of later rounds; 0: 2 for images, 5 for video"),
    "METHOD.BUC.LR_FIRST": Key(0.1, RATE, "learning rate of the first round"),
    "METHOD.BUC.LR_LATER": Key(0.01, RATE, "learning rate of later rounds"),
    "METHOD.BUC.LR_STEP": Key(16, STEPS, "epochs after which the rate of a round is divided by ten"),
    "METHOD.BUC.MERGE.DISTANCE": Key(
        "sqeuclidean", choice("sqeuclidean", "euclidean"), '"sqeuclidean" (code) or "euclidean" (paper)'
    ),
    "METHOD.BUC.MERGE.LINKAGE": Key("min", choice("min", "centroid", "max"), '"min", "centroid" or "max"'),
    "WARMUP": Section("label-free start for random weights"),
    "WARMUP.EPOCHS": Key(
        0, EPOCHS, "the first epochs (of OPTIM.EPOCHS) spent on instance discrimination, before the first labelling"
    ),
    "WARMUP.ITERS": Key(40, STEPS, "steps of one such epoch"),
    "WARMUP.BATCH_SIZE": Key(32, between(2, 2**16), "images of a step; each is seen in two views"),
    "WARMUP.TEMP": Key(0.1, TEMPERATURE, "its softmax temperature"),
    "WARMUP.CHANNEL_JITTER": Key(0.25, STRENGTH, "replaces INPUT.CHANNEL_JITTER during the warm-up"),
}
