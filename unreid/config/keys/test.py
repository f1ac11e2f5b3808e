"""TEST: evaluation, and constraints at test."""

from __future__ import annotations

from unreid.config.conditions import NEIGHBORS, SWITCH, TEXT, WEIGHT, at_least, between, choice, matching
from unreid.config.key import Key

KEYS: dict[str, Key] = {
    "TEST.EVAL_ONLY": Key(False, SWITCH, "evaluate RESUME and stop"),
    "TEST.EVAL_PERIOD": Key(
        1, at_least(0), "epochs between evaluations; the last epoch is always evaluated; 0: only the last"
    ),
    "TEST.EVAL_START": Key(False, SWITCH, "score the untrained network too, before the first epoch"),
    "TEST.SELECT": Key(
        "last",
        matching(
            r"last|best_test|label_free|round:[0-9]{1,9}",
            "one of 'last', 'best_test', 'label_free', or 'round:N' with a number N",
        ),
        'headline checkpoint: "last", "best_test" (with test labels), "label_free" or "round:N"',
    ),
    "TEST.AP": Key("step", choice("step", "trapezoid"), '"step" (standard) or "trapezoid" (BUC\'s)'),
    "TEST.FLIP": Key(False, SWITCH, "average the features of an image and its mirror image"),
    "TEST.CAMERA_CENTERED": Key(
        False, SWITCH, "rank by the features less their camera's mean over query and gallery, normalised"
    ),
    "TEST.RANKED_LIST": Key(0, between(0, 1000), "queries drawn into ranked_list.jpg after training; 0: none"),
    "TEST.AMP": Key("off", choice("off", "bf16", "fp16"), 'extraction precision: "off", "bf16" or "fp16"'),
    "TEST.RERANK.ENABLED": Key(False, SWITCH, "k-reciprocal re-ranking"),
    "TEST.RERANK.K1": Key(20, NEIGHBORS, "its neighbourhood"),
    "TEST.RERANK.K2": Key(6, NEIGHBORS, "its query expansion"),
    "TEST.RERANK.LAMBDA": Key(0.3, between(0, 1), "share of the original distance"),
    "TEST.RERANK.CAMERAS": Key(
        False, SWITCH, "camera-aware re-ranking (CA-Jaccard) with CLUSTER.CA.K1_INTRA and K1_INTER"
    ),
    "TEST.OVERLAP_CONSTRAINT": Key(False, SWITCH, "TOC at test: + 1000 where two tracklets overlap in time"),
    "TEST.CONSTRAINT_PATH": Key("overlap_relation.pickle", TEXT, "its relation"),
    "TEST.CCE_OPTION": Key(False, SWITCH, "SCP at test"),
    "TEST.CCE_LAMBDA": Key(0.03, WEIGHT, "its penalty"),
    "TEST.CCE_PATH": Key(
        "cross_camera_relation_infer.pickle", TEXT, "its relation; empty: from the cameras of the records"
    ),
    "TEST.STR_OPTION": Key(False, SWITCH, "STS at test, with CLUSTER.STR_LAMBDA and STR_GAMMA"),
    "TEST.STR_PATH": Key("spatio_temporal_relation_infer.pickle", TEXT, "its plausibilities"),
}
