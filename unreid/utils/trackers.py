"""Experiment trackers of other people: Weights & Biases and MLflow, for those who have them.

They get the same :class:`~unreid.utils.writers.Events` as every writer. A tracker that fails while a run goes on is
dropped with one warning: nothing is lost, because ``metrics.jsonl`` has it all.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unreid.utils.errors import UserError
from unreid.utils.writers import WRITERS, Events
from unreid.utils.writing import atomic_write_text

logger = logging.getLogger(__name__)

RUNS_FILE = "trackers.json"
"""In the run's folder: what its trackers call the run, so that a resumed one goes on there."""
PROJECT = "unreid"
_LONGEST = 500  # characters of a parameter that every server takes
_BATCH = 100  # parameters or metrics of one MLflow request


class _Tracker:
    """What the trackers have in common: the number of the run, and what happens when they fail."""

    name = ""
    package = ""

    def __init__(
        self, output_dir: str | os.PathLike[str], settings: Mapping[str, Any], resume_step: int | None
    ) -> None:
        self.folder = Path(output_dir)
        self._broken = False
        try:
            number = self._start(settings, None if resume_step is None else self._known().get(self.package))
        except ModuleNotFoundError as error:
            raise UserError(
                f"LOG.WRITERS {self.name} needs the package {error.name}: install it, or take {self.name} out of "
                "LOG.WRITERS."
            ) from error
        except Exception as error:
            raise UserError(
                f"LOG.WRITERS {self.name} cannot be started ({_one_line(error)}): mend that, or take it out of "
                "LOG.WRITERS."
            ) from error
        atomic_write_text(self.folder / RUNS_FILE, json.dumps({**self._known(), self.package: number}) + "\n")

    def write(self, events: Events) -> None:
        """Hand over numbers and pictures; nothing more after the first failure."""
        self._attempt(lambda: self._write(events))

    def close(self) -> None:
        """Tell the tracker that the run has ended."""
        self._attempt(self._end)

    def _start(self, settings: Mapping[str, Any], number: str | None) -> str:
        raise NotImplementedError

    def _write(self, events: Events) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def _attempt(self, work: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            work()
        except Exception as error:  # a server that is away must not end a training
            self._broken = True
            logger.warning("%s failed (%s) and gets nothing more; the run goes on.", self.name, _one_line(error))

    def _known(self) -> dict[str, str]:
        try:
            content = json.loads((self.folder / RUNS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


@WRITERS.register("WandB", "W&B")
class WandbWriter(_Tracker):
    """Weights & Biases. Project, mode and key come from its own variables (WANDB_PROJECT, WANDB_MODE, WANDB_API_KEY).

    Args:
        output_dir: folder of the run; W&B puts its files there.
        settings: config key -> value, shown with the run.
        resume_step: steps already done: the run of the folder goes on; None begins a new one.

    Raises:
        UserError: wandb is not installed or cannot be started.
    """

    name, package = "WandB", "wandb"

    def _start(self, settings: Mapping[str, Any], number: str | None) -> str:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self.folder.name,
            dir=str(self.folder),
            config=dict(settings),
            id=number,
            resume="allow",
        )
        return str(self._run.id)

    def _write(self, events: Events) -> None:
        pictures = {name: self._wandb.Image(_array(image)) for name, image in events.images.items()}
        self._run.log({**events.scalars, **pictures}, step=events.step)

    def _end(self) -> None:
        self._run.finish()


@WRITERS.register("MLflow")
class MLflowWriter(_Tracker):
    """MLflow. The server comes from MLFLOW_TRACKING_URI, the experiment from MLFLOW_EXPERIMENT_NAME ("unreid").

    Without a server the runs lie in ``mlruns`` beside the run's folder, for ``mlflow ui``. Pictures are
    left to TensorBoard.

    Args:
        output_dir, settings, resume_step: see :class:`WandbWriter`.

    Raises:
        UserError: mlflow is not installed or cannot be started.
    """

    name, package = "MLflow", "mlflow"

    def _start(self, settings: Mapping[str, Any], number: str | None) -> str:
        place = os.environ.get("MLFLOW_TRACKING_URI")
        if not place:
            place = (self.folder.absolute().parent / "mlruns").as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # what newer releases ask of who wants files
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self._metric = Metric
        self._client = MlflowClient(tracking_uri=place)
        if number is not None:
            self._client.set_terminated(number, "RUNNING")
            self._number = number
            return number
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(title)
        experiment = self._client.create_experiment(title) if found is None else found.experiment_id
        self._number = self._client.create_run(experiment, run_name=self.folder.name).info.run_id
        named = [Param(_name(key), str(value)[:_LONGEST]) for key, value in settings.items()]
        for start in range(0, len(named), _BATCH):
            self._client.log_batch(self._number, params=named[start : start + _BATCH])
        return self._number

    def _write(self, events: Events) -> None:
        now = int(time.time() * 1000)
        rows = [self._metric(_name(name), value, now, events.step) for name, value in events.scalars.items()]
        for start in range(0, len(rows), _BATCH):
            self._client.log_batch(self._number, metrics=rows[start : start + _BATCH])

    def _end(self) -> None:
        self._client.set_terminated(self._number)


def _name(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)


def _array(values: Any) -> Any:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
