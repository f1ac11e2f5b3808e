"""MEMORY: the rows that samples are compared with."""

from __future__ import annotations

from unreid.config.conditions import NAME, SWITCH, TEMPERATURE, at_least, between, choice, decay
from unreid.config.key import Key

KEYS: dict[str, Key] = {
    "MEMORY.NAME": Key(
        "ClusterMemory", NAME, "ClusterMemory, DiversityMemory (CDSM), HybridMemory (SpCL), ExclusiveTable (BUC)"
    ),
    "MEMORY.UPDATE": Key(
        "all", NAME, "all, hard, camera, hard_camera, tccl, chd; DiversityMemory: cm, cm_hard, cm_hybrid, v2 .. v5"
    ),
    "MEMORY.TEMP": Key(0.05, TEMPERATURE, "softmax temperature"),
    "MEMORY.MOMENTUM": Key(0.1, between(0, 1), "weight of the old row in an update"),
    "MEMORY.NUM_INSTANCES": Key(4, between(1, 1000), "diversity slots per cluster (CDSM)"),
    "MEMORY.HARD_WEIGHT": Key(
        0.5, between(0, 1), "weight w of the margin (v4, v5), hard (cm_hybrid) or mean (v2) part"
    ),
    "MEMORY.CONVEX": Key(
        False, SWITCH, "cm_hybrid: w * hard + (1 - w) * mean instead of the published w * (hard + (1 - w) * mean)"
    ),
    "MEMORY.RENORMALIZE": Key(False, SWITCH, "v4, v5: normalise rows after an update"),
    "MEMORY.SMOOTH": Key(0.0, decay(), "label smoothing of the memory loss"),
    "MEMORY.NEGATIVES": Key(0, at_least(0), "rows of other clusters sampled per step; 0: all"),
    "MEMORY.STORAGE": Key(
        "float32", choice("float32", "float16"), 'HybridMemory: precision of its N rows, "float32" or "float16"'
    ),
    "MEMORY.RELIABILITY": Key(
        "or",
        choice("or", "and", "off"),
        'v5: a sample may enter a slot if compact "or" independent, "and", or always ("off")',
    ),
}
