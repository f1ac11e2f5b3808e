"""Hooks: what happens around the training loop."""

from unreid.engine.hooks.base import HOOKS, Evaluate, Hook, Run
from unreid.engine.hooks.checkpoint import CheckpointHook, SignalHook
from unreid.engine.hooks.diagnostics import DiagnosticsHook
from unreid.engine.hooks.evaluation import EvaluationHook
from unreid.engine.hooks.history import HistoryHook
from unreid.engine.hooks.label_watch import LabelWatchHook
from unreid.engine.hooks.monitoring import DivergedError, LossGuard, ProgressHook, ScalarHook
from unreid.engine.hooks.pseudo_labels import PseudoLabelHook
from unreid.engine.hooks.rank_check import RankCheckHook, RankMismatchError
from unreid.engine.hooks.ranked_list import RankedListHook

__all__ = [
    "HOOKS",
    "CheckpointHook",
    "DiagnosticsHook",
    "DivergedError",
    "Evaluate",
    "EvaluationHook",
    "HistoryHook",
    "Hook",
    "LabelWatchHook",
    "Run",
    "LossGuard",
    "ProgressHook",
    "PseudoLabelHook",
    "RankCheckHook",
    "RankMismatchError",
    "RankedListHook",
    "ScalarHook",
    "SignalHook",
]
