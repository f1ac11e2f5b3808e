"""Scalars, progress and the guard against diverged losses."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch

from unreid.engine.folder import CHECKPOINT
from unreid.engine.hooks.base import HOOKS, Hook, Run
from unreid.structures import Clustering, RoundPlan, StepOutput
from unreid.utils.distributed import is_main
from unreid.utils.errors import DivergedError
from unreid.utils.events import read_numbers
from unreid.utils.progress import duration
from unreid.utils.state import StateError, entries, floating_tensors

logger = logging.getLogger(__name__)

__all__ = ["DivergedError", "LossGuard", "ProgressHook", "ScalarHook", "last_good"]


MOMENT = "moment of the optimiser"
WAY_OUT = "lower OPTIM.LR or set OPTIM.CLIP_GRAD"


@HOOKS.register("LossGuard")
class LossGuard(Hook):
    """Stops the run when a loss is NaN or infinite, naming the step and the losses, or when a weight is.

    On CUDA the check of the losses stays on the device and is read every ``period`` steps, so that no step waits for
    the host. Whoever writes a checkpoint asks :meth:`check` first: the last good state is never overwritten.

    Args:
        checkpoint: path that the message names as the way back, if there is such a file.
    """

    def __init__(self, *, period: int, checkpoint: str) -> None:
        self.period = period
        self.checkpoint = checkpoint
        self._pending: list[tuple[int, list[str], torch.Tensor]] = []

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        return cls(period=run.cfg.PRINT_PERIOD, checkpoint=str(run.output_dir / CHECKPOINT))

    def after_step(self, output: StepOutput) -> None:
        values = torch.stack([value.detach().float() for value in output.losses.values()])
        step = self.trainer.state.global_step
        self._pending.append((step, list(output.losses), torch.isfinite(values)))
        if values.device.type == "cpu" or step % self.period == 0:
            self._check_losses()

    def epoch_trained(self) -> None:
        self._check_losses()

    def check(self) -> None:
        """Raises :class:`DivergedError` unless all losses so far and all weights are finite and no moment is NaN.

        A loss can be finite where the step that it caused is not. The square of a huge gradient may be infinite: it
        makes a step of zero.
        """
        self._check_losses()
        tensors = list(floating_tensors(self.trainer.checked_state()))
        finite = [
            ~torch.isnan(tensor).any() if name.startswith(MOMENT) else torch.isfinite(tensor).all()
            for name, tensor in tensors
        ]
        for (name, _), good in zip(tensors, read_numbers(finite)):
            if not good:
                step = self.trainer.state.global_step
                raise DivergedError(f"{name} is not finite after step {step}; {WAY_OUT}. {last_good(self.checkpoint)}")

    def _check_losses(self) -> None:
        pending, self._pending = self._pending, []
        for step, names, finite in pending:
            flags = finite.tolist()
            if not all(flags):
                bad = ", ".join(name for name, good in zip(names, flags) if not good)
                raise DivergedError(f"Loss {bad} is not finite at step {step}; {WAY_OUT}. {last_good(self.checkpoint)}")


def last_good(checkpoint: str | Path) -> str:
    """The sentence that says where a diverged run can go on from."""
    if str(checkpoint) and Path(checkpoint).is_file():
        return f"The last good state is {checkpoint}."
    return "No checkpoint had been written yet."


@HOOKS.register("Scalars")
class ScalarHook(Hook):
    """Losses, learning rate and cluster counts into the event storage; written every ``period`` steps.

    A written loss is the mean since the last write; nothing is read from the device in between.

    Attributes:
        rows: of the metrics that the checkpoint stands for from which the run goes on; later ones are written again.
    """

    def __init__(self, *, period: int) -> None:
        self.period = period
        self.rows: int | None = None

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        return cls(period=run.cfg.PRINT_PERIOD)

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        used = int((plan.targets >= 0).sum())
        self.trainer.storage.put_scalars(
            {
                "cluster/clusters": clustering.num_clusters,
                "cluster/outliers": clustering.num_outliers,
                "cluster/trained_samples": used,
            }
        )
        if clustering.eps is not None:
            self.trainer.storage.put_scalar("cluster/eps", clustering.eps)

    def after_step(self, output: StepOutput) -> None:
        storage, state = self.trainer.storage, self.trainer.state
        storage.put_scalars(output.losses, prefix="loss/")
        storage.put_scalars(output.scalars)
        storage.put_scalar("lr", self.trainer.optimizer.param_groups[-1]["lr"], "last")
        storage.put_scalar("epoch", state.epoch, "last")
        if state.global_step % self.period == 0 or self.trainer.stop_reason:
            storage.write()

    def epoch_trained(self) -> None:
        # Before the checkpoint: a run that goes on from it keeps the rows up to its step.
        self.trainer.storage.write()

    def after_epoch(self) -> None:
        self.trainer.storage.write()

    def after_train(self) -> None:
        self.trainer.storage.close()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.trainer.storage.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        rows = entries(state, "the count of metrics", {}, {"rows": (int, type(None))}).get("rows")
        if rows is not None and rows < 0:
            raise StateError(f"'rows' of the count of metrics is {rows}")
        self.rows = rows


@HOOKS.register("Progress")
class ProgressHook(Hook):
    """A progress bar over the whole run on a terminal; a line of the log after every epoch says what time is left."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._began = (0.0, 0)  # clock and epochs done

    def before_train(self) -> None:
        self._began = time.monotonic(), self.trainer.state.epoch
        if not (is_main() and sys.stderr.isatty()):
            return
        from tqdm import tqdm

        state = self.trainer.state
        self._bar = tqdm(total=self.trainer.max_epochs, initial=state.epoch, unit="epoch", dynamic_ncols=True)

    def after_step(self, output: StepOutput) -> None:
        if self._bar is None:
            return
        state = self.trainer.state
        self._bar.n = round(state.epoch + state.step / max(self.trainer.iters, 1), 2)
        try:
            self._bar.refresh()
        except OSError:  # the terminal is gone
            self._bar = None

    def after_epoch(self) -> None:
        epoch, epochs = self.trainer.state.epoch, self.trainer.max_epochs
        clock, before = self._began
        if epoch > before and epoch < epochs:
            spent = time.monotonic() - clock
            left = duration(spent / (epoch - before) * (epochs - epoch))
            logger.info("epoch %d of %d done, %s so far, about %s left", epoch, epochs, duration(spent), left)

    def after_train(self) -> None:
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()
