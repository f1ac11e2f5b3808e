"""Faults between the rooms: how a run is put together, extracted, logged and read back."""

from __future__ import annotations

from tests.faults.fault import Fault

RUNS = "engine/test_runs.py"
WIRING = "engine/test_wiring.py"
EVENTS = "utils/test_events.py"
EXTRACT = "evaluation/test_extract.py"

FAULTS = [
    Fault(
        "engine/data.py",
        "len(tracklets) * (rank + 1) // world)",
        "len(tracklets) // world)",
        "distributed/test_two_processes.py",
    ),
    Fault("engine/data.py", 'purpose="test" if round is None else "cluster"', 'purpose="test"', WIRING),
    Fault("engine/data.py", "round=max(round or 0, 0),", "round=0,", WIRING),
    Fault("engine/data.py", "flip=self.cfg.TEST.FLIP and round is None", "flip=self.cfg.TEST.FLIP", WIRING),
    Fault("engine/data.py", "cfg.DATASETS.TESTS or cfg.DATASETS.NAMES", "cfg.DATASETS.NAMES", WIRING),
    Fault("data/build.py", "camids_of(tracklets), plan.sampler)", "camids_of(tracklets), None)", WIRING),
    Fault("data/build.py", "plan.batch_size or loader.TRAIN_BATCH_SIZE", "loader.TRAIN_BATCH_SIZE", WIRING),
    Fault("data/build.py", "            plan.iters,\n", "            0,\n", WIRING),
    Fault("engine/build.py", "LRSchedule.from_config(cfg)", "LRSchedule.from_config(cfg, epochs=1)", WIRING),
    Fault(
        "engine/build.py",
        "Precision(cfg.OPTIM.AMP, cfg.OPTIM.CLIP_GRAD, device)",
        'Precision("off", 0.0, device)',
        WIRING,
    ),
    Fault("engine/build.py", "relabel_every=cfg.CLUSTER.EVERY", "relabel_every=1", WIRING),
    Fault("engine/build.py", "RoundGuard(cfg.CLUSTER.MAX_EMPTY_ROUNDS)", "RoundGuard(3)", WIRING),
    Fault(
        "engine/build.py",
        "channel_jitter=cfg.WARMUP.CHANNEL_JITTER if is_warmup else None",
        "channel_jitter=cfg.WARMUP.CHANNEL_JITTER",
        WIRING,
    ),
    Fault(
        "engine/build.py",
        "extraction(encoder, split.tracklets, feature)",
        'extraction(encoder, split.tracklets, "embedding")',
        WIRING,
    ),
    Fault("engine/build.py", "if cfg.MODEL.RECALIBRATE_BN and not resumed:", "if False:", WIRING),
    Fault(
        "engine/checkpoint.py",
        'trainer_state["method"].get("teacher")',
        "None",
        "methods/test_cdsm.py methods/test_loop.py engine/test_wiring.py",
    ),
    Fault("utils/writers.py", 'row.get("step", 0) <= step', 'row.get("step", 0) < step', EVENTS),
    Fault("utils/writers.py", "value if math.isfinite(value) else None", "value", EVENTS),
    Fault("utils/events.py", "return self.value / self.count if", "return self.value if", EVENTS),
    Fault("utils/agreement.py", "return bool(self._flag.item())", "return False", "distributed/test_two_processes.py"),
    Fault("evaluation/extract.py", "images.flip(3)", "images.flip(2)", EXTRACT),
    Fault("evaluation/extract.py", "frames.clamp(min=1)", "frames.clamp(min=2)", EXTRACT),
    Fault(
        "methods/base.py",
        "self.teacher.update(self.model, at.global_step)",
        "self.teacher.update(self.model, at.step)",
        WIRING,
    ),
    Fault(
        "methods/base.py",
        "            self.teacher.train()\n",
        "            self.teacher.eval()\n",
        "methods/test_cdsm.py",
    ),
    Fault(
        "methods/base.py",
        "max(1, round(self.iters_per_cluster * num_clusters))",
        "round(self.iters_per_cluster * num_clusters)",
        WIRING,
    ),
    Fault("methods/base.py", 'optimizer="rebuild" if self.reset_optimizer else "keep"', 'optimizer="keep"', WIRING),
]
