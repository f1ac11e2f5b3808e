"""A trainer whose method, data and schedule are scripts: what the loop does with them can be followed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unreid.engine.data import Features
from unreid.engine.hooks import Hook
from unreid.engine.precision import Precision
from unreid.engine.rounds import RoundGuard
from unreid.engine.trainer import Builders, Trainer
from unreid.methods import Method, Setup
from unreid.structures import Batch, Clustering, Position, RoundPlan, StepOutput
from unreid.utils.events import EventStorage

N = 6
LABELS = (0, 0, 0, 1, 1, 1)


class Scripted(Method):
    """Labels and plans come from a list; the loss is linear in the one weight: its gradient is 3 in every step.

    Attributes:
        calls: what the trainer asked for, in order.
        positions: of every step.
    """

    def __init__(
        self, labels: Sequence[Sequence[int]] = (LABELS,), *, epochs: int = 2, iters: int = 2, **plan: Any
    ) -> None:
        model = nn.Linear(1, 1, bias=False)
        nn.init.constant_(model.weight, 1.0)
        super().__init__(Setup(model, torch.zeros(N, dtype=torch.int64), epochs, iters))
        self.labels = labels
        self.plan_options = {"epochs": 1, **plan}
        self.calls: list[str] = []
        self.positions: list[Position] = []
        self.planned: list[Clustering] = []

    def label(self, round: int, extract: Callable[[str], Tensor]) -> Clustering:
        self.calls.append(f"label {round}")
        features = extract("embedding")
        labels = self.labels[min(round, len(self.labels) - 1)]
        return Clustering.from_labels(labels, features=features, eps=0.5)

    def plan(self, clustering: Clustering, round: int) -> RoundPlan:
        self.calls.append(f"plan {round}")
        self.planned.append(clustering)
        return RoundPlan(clustering.labels, iters=self.iters, **self.plan_options)

    def train_mode(self) -> None:
        self.calls.append("train_mode")
        super().train_mode()

    def step(self, batch: Batch, at: Position) -> StepOutput:
        self.positions.append(at)
        weight = self.model.weight.sum()
        return StepOutput({"one": weight, "two": 2 * weight}, cache=at.global_step, scalars={"noted": weight.detach()})

    def after_step(self, cache: Any, at: Position) -> None:
        self.calls.append(f"after_step {cache}")


class Loader:
    """Batches without content; knows where every epoch began and whether it was closed."""

    def __init__(self, plan: RoundPlan, views: tuple[str, ...], is_warmup: bool) -> None:
        self.plan, self.views, self.is_warmup = plan, views, is_warmup
        self.starts: list[tuple[int, int]] = []
        self.closed = 0

    def __len__(self) -> int:
        return self.plan.iters

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        self.starts.append((epoch, start_step))
        index = torch.zeros(1, dtype=torch.int64)
        for _ in range(start_step, len(self)):
            yield Batch([torch.zeros(1, 3, 1, 1)], index, index, index)

    def close(self) -> None:
        self.closed += 1


class Script:
    """A trainer of scripts, with what it built on the way: ``loaders`` and ``extractions`` (feature, round)."""

    def __init__(
        self,
        method: Method | None = None,
        *,
        warmup: Method | None = None,
        hooks: Iterable[Hook] = (),
        unreadable: Sequence[int] = (),
        learning_rate: Callable[[float], float] = lambda epoch: 0.1,
        precision: Precision | None = None,
        max_empty_rounds: int = 3,
        relabel_every: int = 1,
        momentum: float = 0.0,
        writers: Sequence[Any] = (),
    ) -> None:
        self.method = method or Scripted()
        self.unreadable = list(unreadable)
        self.loaders: list[Loader] = []
        self.extractions: list[tuple[str, int]] = []
        self.optimizers: list[torch.optim.Optimizer] = []
        self.trainer = Trainer(
            model=self.method.model,
            method=self.method,
            warmup=warmup,
            builders=Builders(
                loader=self._loader,  # type: ignore[arg-type]
                extract=self._extract,
                optimizer=lambda: self._optimizer(momentum),
                learning_rate=learning_rate,
            ),
            guard=RoundGuard(max_empty_rounds),
            precision=precision or Precision(),
            storage=EventStorage(writers),
            hooks=hooks,
            relabel_every=relabel_every,
        )

    @property
    def weight(self) -> float:
        return self.method.model.weight.item()

    def _loader(self, plan: RoundPlan, views: tuple[str, ...], is_warmup: bool) -> Loader:
        self.loaders.append(Loader(plan, views, is_warmup))
        return self.loaders[-1]

    def _extract(self, encoder: nn.Module, feature: str, round: int) -> Features:
        self.extractions.append((feature, round))
        return Features(torch.zeros(N, 2), torch.tensor(self.unreadable, dtype=torch.int64))

    def _optimizer(self, momentum: float) -> torch.optim.Optimizer:
        groups = [{"params": list(self.method.model.parameters()), "lr_mult": 0.5}]
        self.optimizers.append(torch.optim.SGD(groups, lr=1.0, momentum=momentum))
        return self.optimizers[-1]


class Log(Hook):
    """Writes down every call with the counters it saw, and may do something at one of them."""

    def __init__(self, act: Callable[[Trainer, str], None] = lambda trainer, call: None) -> None:
        self.seen: list[tuple[str, int, int, int, int]] = []
        self.act = act

    def _note(self, call: str) -> None:
        state = self.trainer.state
        self.seen.append((call, state.round, state.epoch, state.step, state.global_step))
        self.act(self.trainer, call)

    def before_train(self) -> None:
        self._note("before_train")

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        self._note("after_label")

    def before_epoch(self) -> None:
        self._note("before_epoch")

    def after_step(self, output: StepOutput) -> None:
        self._note("after_step")

    def after_epoch(self) -> None:
        self._note("after_epoch")

    def after_train(self) -> None:
        self._note("after_train")
