"""Faults in the loop, its rounds, its optimiser and its random state."""

from __future__ import annotations

from tests.faults.fault import Fault

TRAINER = "engine/test_trainer.py"
ROUNDS = "engine/test_rounds.py"
PRECISION = "engine/test_precision.py"
OPTIM = "engine/test_optim.py"
KEPT = "engine/test_kept_checkpoints.py"

FAULTS = [
    # ------------------------------------------------------------------------------------------------- rounds
    Fault(
        "engine/rounds.py",
        "            self.empty_rounds = 0\n            self.previous",
        "            self.previous",
        ROUNDS,
    ),
    Fault("engine/rounds.py", 'self.empty_rounds = state["empty_rounds"]', "self.empty_rounds = 0", ROUNDS),
    Fault("engine/rounds.py", 'previous = state["previous"]', "previous = None", ROUNDS),
    Fault("engine/rounds.py", "clustering.num_clusters >= 2", "clustering.num_clusters >= 1", ROUNDS),
    Fault(
        "engine/rounds.py",
        "self.empty_rounds >= self.max_empty_rounds",
        "self.empty_rounds > self.max_empty_rounds",
        ROUNDS,
    ),
    Fault("engine/rounds.py", "            features=clustering.features,\n", "", ROUNDS),
    Fault("engine/rounds.py", "            part_features=clustering.part_features,\n", "", ROUNDS),
    Fault(
        "structures/clustering.py",
        "centroids=self.centroids if same else None",
        "centroids=clustering.centroids",
        ROUNDS,
    ),
    Fault("structures/clustering.py", "centroids=self.centroids if same else None", "centroids=None", ROUNDS),
    Fault("structures/clustering.py", "labels = self.labels.clone()", "labels = self.labels", ROUNDS),
    # ------------------------------------------------------------------------------------------------ trainer
    Fault("engine/trainer.py", "round=0 if self.warmup is None else -1", "round=0", TRAINER),
    Fault("engine/trainer.py", "label(max(round, 0), extract)", "label(round, extract)", TRAINER),
    Fault(
        "engine/trainer.py",
        "self.active.plan(clustering, max(state.round, 0))",
        "self.active.plan(clustering, state.round)",
        TRAINER,
    ),
    Fault("engine/trainer.py", "extract(encoder, feature, round)", "extract(encoder, feature, 0)", TRAINER),
    Fault("engine/trainer.py", "clustering.without(unreadable)", "clustering", TRAINER),
    Fault(
        "engine/trainer.py",
        "self.guard.check(clustering.without(unreadable), round)",
        "clustering.without(unreadable)",
        TRAINER,
    ),
    Fault("structures/training.py", "if clustering.num_clusters == len(clustering.labels):", "if False:", TRAINER),
    Fault("engine/trainer.py", 'self.plan.optimizer == "rebuild"', "False", TRAINER),
    Fault("engine/trainer.py", "clustering.features = clustering.part_features = None", "pass", TRAINER),
    Fault(
        "engine/trainer.py", "self.loader.epoch(state.epoch, state.step)", "self.loader.epoch(state.epoch, 0)", TRAINER
    ),
    Fault(
        "engine/trainer.py",
        "self.stop_reason is not None and state.step < self.iters",
        "self.stop_reason is not None",
        TRAINER,
    ),
    Fault("engine/trainer.py", "        self.active.train_mode()\n", "", TRAINER),
    Fault(
        "engine/trainer.py",
        "state.epoch_of_round >= self.plan.epochs",
        "state.epoch_of_round > self.plan.epochs",
        TRAINER,
    ),
    Fault("engine/trainer.py", "self.state.round % self.relabel_every == 0", "True", "methods/test_loop.py"),
    Fault("engine/trainer.py", ".losses.values()]).sum()", ".losses.values()]).mean()", TRAINER),
    Fault("engine/trainer.py", "        self.optimizer.zero_grad(set_to_none=True)\n", "", TRAINER),
    Fault("engine/trainer.py", "        self.set_learning_rate(self._learning_rate())\n", "", TRAINER),
    Fault(
        "engine/trainer.py",
        "if self.precision.backward_and_step(loss, self.optimizer, self.model):",
        "self.precision.backward_and_step(loss, self.optimizer, self.model)\n        if True:",
        "methods/test_loop.py",
    ),
    Fault("engine/trainer.py", "state.epoch + state.step / max(self.iters, 1)", "state.epoch", TRAINER),
    Fault("engine/trainer.py", "state.epoch_of_round >= milestone", "state.epoch_of_round > milestone", TRAINER),
    Fault("engine/trainer.py", "state.epoch_of_round >= milestone", "state.epoch >= milestone", TRAINER),
    Fault("engine/trainer.py", 'rate * group.get("lr_mult", 1.0)', "rate", TRAINER),
    Fault("engine/trainer.py", "        self.storage.step = state.global_step\n", "", "engine/test_monitoring.py"),
    Fault("engine/restore.py", "    trainer.storage.step = trainer.state.global_step\n", "", TRAINER),
    Fault("engine/restore.py", "load_optimizer(trainer.optimizer, stored, trainer.model)", "None", TRAINER),
    Fault("engine/restore.py", '            "guard": trainer.guard.load_state_dict,\n', "", TRAINER),
    Fault("engine/restore.py", '            "method": trainer.method.load_state_dict,\n', "", "methods/test_resume.py"),
    Fault(
        "engine/restore.py", '            "hooks": lambda stored: _load_hooks(trainer.hooks, stored),\n', "", TRAINER
    ),
    Fault("engine/restore.py", '            "rng": set_rng_state,\n', "", TRAINER),
    Fault(
        "engine/restore.py",
        "trainer.plan = None if plan is None else RoundPlan",
        "trainer.plan = None if plan else RoundPlan",
        TRAINER,
    ),
    # ------------------------------------------------------------------------- precision, optimiser, generators
    Fault("engine/precision.py", "if self.clip_grad > 0:", "if False:", PRECISION),
    Fault("engine/precision.py", "            self.scaler.unscale_(optimizer)\n", "", PRECISION),
    Fault("engine/precision.py", "return self._scale >= before", "return True", PRECISION),
    Fault("engine/precision.py", "            self._scale = self.scaler.get_scale()\n", "", PRECISION),
    Fault("engine/precision.py", 'enabled=amp == "fp16"', "enabled=True", PRECISION),
    Fault("engine/precision.py", "dtype=self.dtype)", "dtype=torch.bfloat16)", PRECISION),
    Fault("engine/optim.py", "math.cos(math.pi * progress)", "math.cos(math.pi * epoch / span)", OPTIM),
    Fault("engine/optim.py", "max(0, math.floor(epoch) - schedule.warmup_epochs) //", "math.floor(epoch) //", OPTIM),
    Fault(
        "engine/optim.py",
        "bisect_right(schedule.steps, math.floor(epoch))",
        "sum(at < epoch for at in schedule.steps)",
        OPTIM,
    ),
    Fault("engine/optim.py", "if epoch >= self.warmup_epochs:", "if epoch > self.warmup_epochs:", OPTIM),
    Fault("engine/optim.py", 'self.warmup_version == "v2" and epoch > 0', 'self.warmup_version == "v2"', OPTIM),
    Fault("engine/optim.py", '"lr": lr * mult, ', '"lr": lr, ', OPTIM),
    Fault("engine/optim.py", "if p.requires_grad]", "]", OPTIM),
    Fault("engine/optim.py", "return cfg.OPTIM.ADAM_BETA1, cfg", "return 0.9, cfg", OPTIM),
    Fault(
        "engine/rng.py",
        '"numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss]',
        '"numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, 0, 0.0]',
        "engine/test_rng.py",
    ),
    Fault("engine/rng.py", "tuple(words), gauss_next))", "tuple(words), None))", "engine/test_rng.py"),
    Fault("engine/rng.py", 'torch.set_rng_state(state["torch"].cpu())', "pass", "engine/test_rng.py"),
]
