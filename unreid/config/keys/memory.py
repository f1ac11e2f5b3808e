"""MEMORY: the rows that samples are compared with."""

from __future__ import annotations

from unreid.config.conditions import EPOCHS, NAME, NEIGHBORS, SWITCH, TEMPERATURE, at_least, between, choice, decay
from unreid.config.key import Key, Section

KEYS: dict[str, Key | Section] = {
    "MEMORY.NAME": Key(
        "ClusterMemory", NAME, "ClusterMemory, DiversityMemory, HybridMemory (SpCL), ExclusiveTable (BUC), ProxyMemory"
    ),
    "MEMORY.UPDATE": Key(
        "all", NAME, "all, hard, camera, hard_camera, tccl, chd; DiversityMemory: cm, cm_hard, cm_hybrid, v2 .. v5"
    ),
    "MEMORY.TEMP": Key(0.05, TEMPERATURE, "softmax temperature"),
    "MEMORY.MOMENTUM": Key(0.1, between(0, 1), "weight of the old row in an update"),
    "MEMORY.SLOTS": Key(4, between(1, 1000), "diversity slots per cluster (CDSM)", formerly=("MEMORY.NUM_INSTANCES",)),
    "MEMORY.HARD_WEIGHT": Key(
        0.5, between(0, 1), "weight w of the margin (v4, v5), hard (cm_hybrid) or mean (v2) part"
    ),
    "MEMORY.SMOOTH": Key(0.0, decay(), "label smoothing of the memory loss"),
    "MEMORY.NEGATIVES": Key(0, at_least(0), "rows of other clusters sampled per step; 0: all"),
    "MEMORY.STORAGE": Key(
        "float32", choice("float32", "float16"), 'HybridMemory: precision of its N rows, "float32" or "float16"'
    ),
    "MEMORY.PROXY": Section("ProxyMemory: which losses against the camera proxies"),
    "MEMORY.PROXY.INTRA": Key(False, SWITCH, "against the proxies of the own camera (CAP)"),
    "MEMORY.PROXY.OFFLINE": Key(
        True, SWITCH, "positives: all proxies of the own cluster (O2CAP; CAP's inter-camera loss)"
    ),
    "MEMORY.PROXY.ONLINE": Key(True, SWITCH, "positives: the most similar proxies of different cameras (O2CAP)"),
    "MEMORY.PROXY.INTER_AFTER": Key(0, EPOCHS, "labellings before OFFLINE and ONLINE begin (CAP: 5)"),
    "MEMORY.PROXY.HARD_NEGATIVES": Key(50, between(1, 10**7), "most similar proxies that count as negatives"),
    "MEMORY.PROXY.NEGATIVES": Key(
        "all",
        choice("all", "seen"),
        'offline negatives: of "all" cameras, or of those that have "seen" the own cluster, where they are known',
    ),
    "MEMORY.PROXY.ONLINE_POSITIVES": Key(3, NEIGHBORS, "positives of the online loss"),
    "MEMORY.PROXY.BALANCE": Key(0.15, between(0, 1), "share of the sample's own similarity in the online choice"),
    "MEMORY.RELIABILITY": Key(
        "or",
        choice("or", "and", "off"),
        'v5: a sample may enter a slot if compact "or" independent, "and", or always ("off")',
    ),
}
