"""Faults in the hooks: guards, scalars, selection, checkpoints, history."""

from __future__ import annotations

from tests.faults.fault import Fault

MONITORING = "engine/test_monitoring.py"
EVALUATION = "engine/test_evaluation_hook.py"
KEPT = "engine/test_kept_checkpoints.py"
SMALL = "engine/test_small_hooks.py"
HISTORY = "engine/test_history.py"

FAULTS = [
    Fault("engine/hooks/monitoring.py", "if not all(flags):", "if not any(flags):", MONITORING),
    Fault("engine/hooks/monitoring.py", "zip(names, flags) if not good)", "zip(names, flags))", MONITORING),
    Fault("engine/hooks/monitoring.py", "or step % self.period == 0:", "or False:", MONITORING),
    Fault(
        "engine/hooks/monitoring.py",
        "pending, self._pending = self._pending, []",
        "pending, self._pending = self._pending[-1:], []",
        MONITORING,
    ),
    Fault(
        "engine/hooks/monitoring.py", "used = int((plan.targets >= 0).sum())", "used = len(plan.targets)", MONITORING
    ),
    Fault(
        "engine/hooks/monitoring.py",
        "self.trainer.optimizer.param_groups[-1]",
        "self.trainer.optimizer.defaults",
        MONITORING,
    ),
    Fault(
        "engine/hooks/monitoring.py",
        "state.epoch + state.step / max(self.trainer.iters, 1), 2)",
        "state.epoch, 2)",
        MONITORING,
    ),
    Fault("engine/hooks/evaluation.py", "state.round == self._round + 1", "state.round == self._round", EVALUATION),
    Fault("engine/hooks/evaluation.py", "trainer.plan is None and state.round", "state.round", EVALUATION),
    Fault("engine/hooks/evaluation.py", "last = state.epoch >= trainer.max_epochs", "last = False", EVALUATION),
    Fault("engine/hooks/evaluation.py", "and self.trainer.state.global_step == 0:", ":", EVALUATION),
    Fault("engine/hooks/evaluation.py", "sum(scores) / len(scores)", "max(scores)", EVALUATION),
    Fault(
        "engine/hooks/evaluation.py",
        'self.best_results, self._best = state["best"], state["value"]',
        'self.best_results = state["best"]',
        EVALUATION,
    ),
    Fault(
        "engine/hooks/evaluation.py",
        '        self._previous_labels = state["labels"]\n',
        "",
        EVALUATION,
    ),
    Fault("engine/hooks/evaluation.py", "        self._previous_labels = clustering.labels\n", "", EVALUATION),
    Fault(
        "engine/hooks/evaluation.py",
        "if self.trainer.state.round < 0 or clustering.features",
        "if clustering.features",
        EVALUATION,
    ),
    Fault(
        "engine/hooks/checkpoint.py",
        "old[: -self.keep] if self.keep else []",
        "old[self.keep :] if self.keep else []",
        KEPT,
    ),
    Fault("engine/hooks/checkpoint.py", "epoch % self.period == 0", "True", KEPT),
    Fault("engine/hooks/checkpoint.py", "if self.keep == 1 or", "if", KEPT),
    Fault("engine/hooks/history.py", "self.rows = list(rows)", "self.rows = []", HISTORY),
    Fault(
        "engine/hooks/history.py",
        'self.evaluation.last_results.get("epoch") == epoch',
        "self.evaluation.last_results",
        HISTORY,
    ),
    Fault("engine/hooks/history.py", '        row["epochs"] = epoch\n', "", HISTORY),
    Fault("engine/hooks/history.py", "if self.trainer.state.round < 0:", "if False:", HISTORY),
    Fault("engine/hooks/history.py", "MaxNLocator(integer=True, min_n_ticks=1)", "MaxNLocator()", HISTORY),
    Fault("engine/hooks/pseudo_labels.py", "if self.trainer.state.round >= 0:", "if True:", SMALL),
    Fault("engine/hooks/pseudo_labels.py", "self._labels = labels\n", "pass\n", SMALL),
    Fault("engine/hooks/rank_check.py", "if len(set(hashes)) > 1}", "if not hashes}", SMALL),
    Fault("engine/hooks/rank_check.py", "            yield key\n", "", SMALL),
    Fault("engine/hooks/rank_check.py", "        yield len(value)\n", "", SMALL),
    Fault("engine/hooks/rank_check.py", 'f"{leaf.dtype}{tuple(leaf.shape)}"', 'f"{leaf.dtype}"', SMALL),
    Fault(
        "engine/hooks/diagnostics.py", "if self.trainer.state.round < 0 or not is_main():", "if not is_main():", SMALL
    ),
    Fault(
        "engine/hooks/diagnostics.py",
        "labels, self.truth.pids, camids_of(self.tracklets))",
        "labels, self.truth.pids, None)",
        SMALL,
    ),
]
