"""The one training loop: rounds of labelling and training; everything else is in hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unreid.data.joint import JointLoader
from unreid.data.loader import TrainLoader
from unreid.engine.hooks.base import Hook
from unreid.engine.hooks.monitoring import MOMENT
from unreid.engine.precision import Precision
from unreid.engine.restore import named_hooks, restore
from unreid.engine.rng import rng_state
from unreid.engine.rounds import RoundGuard
from unreid.engine.training import TrainState
from unreid.methods.base import Method
from unreid.structures import Batch, Clustering, Position, RoundPlan
from unreid.utils.agreement import Agreement
from unreid.utils.distributed import get_rank, get_world_size
from unreid.utils.errors import UserError
from unreid.utils.events import EventStorage
from unreid.utils.progress import tracked
from unreid.utils.seed import generator_for

if TYPE_CHECKING:
    from unreid.engine.data import Features

logger = logging.getLogger(__name__)


@dataclass
class Builders:
    """How the trainer makes what it rebuilds during a run.

    Attributes:
        loader: (plan, views, is_warmup) -> loader of the round's batches.
        extract: (encoder, feature, round) -> features of the training samples.
        optimizer: () -> a new optimiser.
        learning_rate: position in epochs (a float) -> rate of the run's schedule.
    """

    loader: Callable[[RoundPlan, tuple[str, ...], bool], TrainLoader | JointLoader]
    extract: Callable[[nn.Module, str, int], Features]
    optimizer: Callable[[], torch.optim.Optimizer]
    learning_rate: Callable[[float], float]


@dataclass(eq=False, kw_only=True)
class Trainer:
    """Runs a method on a list of samples.

    Args:
        method: what to learn; ``warmup`` (optional) takes the first round, before the first labelling.
        relabel_every: rounds between two labellings; in between memory and labels live on.
        seed: of what a step draws from torch's global generator (dropout), where there are several processes.

    Attributes:
        stop_requested: why this process wants to stop, or None.
        stop_reason: why the run stops; set on all processes after the same step.
        saved: how far the newest checkpoint is; at the beginning, where there is nothing to save, the beginning.
        trained: the last epoch is trained and saved; what fails from then on costs no training.
        closing_errors: what went wrong in the hooks' ``after_train``, (hook, error); it was logged.
    """

    model: nn.Module
    method: Method
    warmup: Method | None
    builders: Builders
    guard: RoundGuard
    precision: Precision
    storage: EventStorage
    hooks: list[Hook] = field(default_factory=list)
    relabel_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        self.optimizer = self.builders.optimizer()
        self.state = TrainState(round=0 if self.warmup is None else -1)
        self.saved = replace(self.state)
        self.plan: RoundPlan | None = None
        self.loader: TrainLoader | JointLoader | None = None
        self.clustering: Clustering | None = None
        self.stop_requested: str | None = None
        self.stop_reason: str | None = None
        self.trained = False
        self.closing_errors: list[tuple[str, Exception]] = []
        self._agreement = Agreement()
        for hook in self.hooks:
            hook.trainer = self
        for part in (self.method, self.warmup):
            if part is not None:
                part.phase = self.storage.phase

    @property
    def active(self) -> Method:
        """The method of the current round."""
        if self.state.round < 0:
            assert self.warmup is not None
            return self.warmup
        return self.method

    @property
    def max_epochs(self) -> int:
        return self.method.epochs

    def request_stop(self, reason: str) -> None:
        """Ends the run after the current step, or the next ones when others must be told; a checkpoint is written."""
        self.stop_requested = reason
        if get_world_size() == 1:
            self.stop_reason = reason

    # ---------------------------------------------------------------------------------------------- loop

    def train(self) -> None:
        """Trains from the current state to the last epoch, or until a stop is requested."""
        try:
            self._call("before_train")
            if self.state.unreported:
                self._report_epoch()
            while self.state.epoch < self.max_epochs and self.stop_reason is None:
                if self.plan is None:
                    self._start_round()
                self._run_epoch()
            self._agreement.finish()
        finally:
            self._close_loader()
            self._call("after_train")

    def _start_round(self) -> None:
        state = self.state
        clustering = self._label()
        self.plan = self.active.plan(clustering, max(state.round, 0)).suited_to(clustering)
        self.clustering = clustering
        if self.plan.optimizer == "rebuild":
            self.optimizer = self.builders.optimizer()
        self._call("after_label", clustering, self.plan)
        clustering.features = clustering.part_features = None  # N x D floats that nobody needs any more

    def _label(self) -> Clustering:
        """The labels of the round: of samples that can be read, and such that can be trained on."""
        encoder, round = self.method.encoder, self.state.round
        unreadable = torch.empty(0, dtype=torch.int64)

        def extract(feature: str) -> Tensor:
            nonlocal unreadable
            features = self.builders.extract(encoder, feature, round)
            unreadable = features.unreadable
            return features.values

        clustering = self.active.label(max(round, 0), extract)
        return clustering if round < 0 else self.guard.check(clustering.without(unreadable), round)

    @property
    def iters(self) -> int:
        """Steps of the epoch under way."""
        return 0 if self.loader is None else len(self.loader)

    def _run_epoch(self) -> None:
        assert self.plan is not None
        state = self.state
        if self.loader is None:
            self.loader = self.builders.loader(self.plan, self.active.views, state.round < 0)
        self._call("before_epoch")
        self.active.train_mode()
        with self.storage.phase("train"):
            batches = self.loader.epoch(state.epoch, state.step)
            name = f"epoch {state.epoch + 1} of {self.max_epochs}"
            for batch in tracked(batches, name, self.iters, "steps", done=state.step):
                self._run_step(batch)
                if self.stop_reason is not None and state.step < self.iters:
                    return
        state.epoch += 1
        state.epoch_of_round += 1
        state.step = 0
        if state.epoch_of_round >= self.plan.epochs:
            self._end_round()
        state.unreported = True
        self._call("epoch_trained")
        if self.stop_reason is None:
            self._report_epoch()

    def _report_epoch(self) -> None:
        """Scores and reports come after the checkpoint, so that a failure in them costs no training."""
        self.trained = self.state.epoch >= self.max_epochs
        self._call("after_epoch")
        self.state.unreported = False

    def _end_round(self) -> None:
        self.state.round += 1
        self.state.epoch_of_round = 0
        if self.state.round % self.relabel_every == 0:
            self.plan = None
            self._close_loader()

    def _close_loader(self) -> None:
        if self.loader is not None:
            self.loader.close()
            self.loader = None

    def _run_step(self, batch: Batch) -> None:
        assert self.plan is not None
        state = self.state
        at = Position(state.round, state.epoch, self.max_epochs, state.step, self.iters, state.global_step)
        self.set_learning_rate(self._learning_rate())
        self._seed_step()
        with self.precision.autocast():
            output = self.active.step(batch, at)
        loss = torch.stack([value.float() for value in output.losses.values()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        if self.precision.backward_and_step(loss, self.optimizer, self.model):
            self.active.after_step(output.cache, at)
        state.step += 1
        state.global_step += 1
        self.storage.step = state.global_step
        if self._agreement(self.stop_requested is not None):
            self.stop_reason = self.stop_requested or "another process was stopped"
        self._call("after_step", output)

    def _seed_step(self) -> None:
        """Dropout of several processes: each its own masks, and a resumed run those of an uninterrupted one."""
        if get_world_size() > 1:
            torch.manual_seed(generator_for(self.seed, self.state.global_step, get_rank()).initial_seed())

    def _learning_rate(self) -> float:
        assert self.plan is not None
        state = self.state
        if self.plan.lr is None:
            return self.builders.learning_rate(state.epoch + state.step / max(self.iters, 1))
        drops = sum(state.epoch_of_round >= milestone for milestone in self.plan.lr_milestones)
        return self.plan.lr * 0.1**drops

    def set_learning_rate(self, rate: float) -> None:
        """Sets the base rate; a group's own factor (``lr_mult``) stays."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_mult", 1.0)

    def _call(self, name: str, *args: Any) -> None:
        for hook in self.hooks:
            if name == "after_train":  # every hook gets its turn, also when another one fails
                try:
                    hook.after_train()
                except Exception as error:
                    if isinstance(error, UserError):
                        logger.warning("%s", error)
                    else:
                        logger.exception("%s failed while the run was closing", type(hook).__name__)
                    self.closing_errors.append((type(hook).__name__, error))
            else:
                getattr(hook, name)(*args)

    # --------------------------------------------------------------------------------------------- state

    def checked_state(self) -> dict[str, Any]:
        """What must be finite in a checkpoint: weights, BN statistics, teacher and memory, the optimiser's moments."""
        return {
            "weight": self.model.state_dict(),
            "state of the method": self.method.state_dict(),
            MOMENT: self.optimizer.state_dict()["state"],
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and plain values."""
        return {
            "state": asdict(self.state),
            "plan": None if self.plan is None else asdict(self.plan),
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "guard": self.guard.state_dict(),
            "rng": rng_state(),
            "hooks": {name: hook.state_dict() for name, hook in named_hooks(self.hooks).items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`.

        Raises:
            UserError: an entry is missing, unknown or of another kind, or the state is that of another run: other
                samples, network, method or optimiser.
        """
        restore(self, state)
        self.saved = replace(self.state)
