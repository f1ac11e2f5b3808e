"""The two things a user does with a config: train and evaluate."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from unreid.config import CfgNode
from unreid.engine.build import assemble, build_trainer, build_writers, check_numbers
from unreid.engine.checkpoint import load_model, read_run
from unreid.engine.environment import write_run_header
from unreid.engine.folder import AUTO, CHECKPOINT, EVALUATION_PREFIX, RESULTS, RunFolder
from unreid.engine.hooks import EvaluationHook, Hook, ScalarHook
from unreid.engine.hooks.monitoring import last_good
from unreid.engine.hooks.ranked_list import RANKED_LIST, write_ranked_list
from unreid.engine.preflight import check_packages, check_start, run_folder
from unreid.engine.resume import check_resumable
from unreid.engine.start import adopt_network
from unreid.engine.trainer import Trainer
from unreid.evaluation.evaluator import format_table
from unreid.utils.allocator import keep_freed_memory
from unreid.utils.distributed import barrier, from_main, get_rank, is_main
from unreid.utils.errors import DivergedError, IncompleteRunError, PeerFailedError, PeerLostError, UserError
from unreid.utils.events import EventStorage
from unreid.utils.io import atomic_write_text
from unreid.utils.job import init_from_env, one_voice, shutdown
from unreid.utils.logging import log_to_folder, setup_logging
from unreid.utils.plugins import import_installed, import_plugins
from unreid.utils.processors import limit_threads
from unreid.utils.seed import seed_everything
from unreid.utils.writing import sweep

logger = logging.getLogger(__name__)

SELECTED = {
    "best_test": "best on the test set (chosen with test labels)",
    "label_free": "chosen without labels",
    "round": "end of the round fixed before training",
}


def train(cfg: CfgNode, *, hooks: Sequence[Hook] = ()) -> dict[str, Any]:
    """Trains (or goes on from ``RESUME``) and returns the results that ``results.json`` holds.

    Everything is built before anything is written, so that a start that fails leaves ``OUTPUT_DIR`` as it was.

    Args:
        hooks: further hooks, called after those that ``HOOKS`` names; see ``engine/build.py`` for the order.

    Returns:
        "initial", "last" and "best": test set -> {"mAP", "R1", "R5", "R10"} in percent, with the epoch; empty
        where nothing was evaluated.

    Raises:
        UserError: a mistake in config or data.
        DivergedError: a loss, a feature or a weight is not finite any more.
        IncompleteRunError: something failed after the training, which is saved.
    """
    folder = run_folder(cfg)
    device = _begin(cfg)
    checkpoint = resume_path(cfg)
    cfg = with_its_network(cfg, checkpoint or cfg.MODEL.INIT_PATH)
    resumed = None
    if checkpoint:
        stored = read_run(checkpoint)
        check_resumable(stored, cfg, checkpoint)
        resumed = stored.trainer
    step = resumed["state"]["global_step"] if resumed else None
    storage = EventStorage(step=step or 0)
    trainer = build_trainer(cfg, folder.path, device, storage, resumed=resumed is not None, hooks=hooks)
    check_numbers(cfg, trainer.method.num_samples)
    if resumed is not None:
        trainer.load_state_dict(resumed)
        del stored, resumed  # as large as the network, its optimiser and its memory together
        logger.info("going on from %s: epoch %d, step %d", checkpoint, trainer.state.epoch, trainer.state.step)
    with _opened(cfg, folder):
        if cfg.RESUME == AUTO and not checkpoint and folder.goes_on():
            raise UserError(f"Another run wrote {folder.newest()} while this one was starting: start it again.")
        scalars = next(hook for hook in trainer.hooks if isinstance(hook, ScalarHook))
        storage.writers = build_writers(cfg, folder.path, step, scalars.rows)
        return _finish(cfg, trainer, folder.path)


def _finish(cfg: CfgNode, trainer: Trainer, output_dir: Path) -> dict[str, Any]:
    """Trains, and writes down what came out, also where something after the training failed."""
    newest = output_dir / CHECKPOINT
    try:
        trainer.train()
    except Exception as error:
        told = _with_way_back(error, newest)
        if trainer.trained:
            _write_results(output_dir, {**_results(cfg, trainer, newest), "finished": False, "error": str(told)})
            told = _after_training(told, newest)
        if told is error:
            raise
        raise told from error
    results = _results(cfg, trainer, newest)
    _write_results(output_dir, results)
    for hook, closing in trainer.closing_errors:
        raise _after_training(closing, newest, f"{hook} failed") from closing
    for last in trainer.hooks if trainer.stop_reason is None else ():
        try:
            last.after_results()
        except Exception as error:
            raise _after_training(error, newest, f"{type(last).__name__} failed") from error
    return results


def evaluate(cfg: CfgNode) -> dict[str, Any]:
    """Scores the checkpoint ``RESUME`` on the test sets and returns test set -> scores in percent.

    What it writes has names of its own (``evaluation.json``, ``eval_*``), also beside a training.
    """
    folder = run_folder(cfg)
    device = _begin(cfg)
    checkpoint = resume_path(cfg)
    cfg = with_its_network(cfg, checkpoint)
    assembled = assemble(cfg, folder.path, device, train=False, loaded=True)
    load_model(checkpoint, assembled.model)
    if assembled.evaluate is None:
        raise UserError("There is nothing to evaluate on: no dataset in DATASETS.TESTS has a query and a gallery.")
    with _opened(cfg, folder):
        results = assembled.evaluate(assembled.model)
        if is_main():
            written = {"checkpoint": checkpoint, **results}
            logger.info("%s\n%s", checkpoint, format_table(results))
            atomic_write_text(folder.path / "evaluation.json", json.dumps(written, indent=2))
        if cfg.TEST.RANKED_LIST:
            write_ranked_list(assembled, assembled.model, f"{EVALUATION_PREFIX}{RANKED_LIST}")
    return results


def run(cfg: CfgNode) -> dict[str, Any]:
    """Trains or, with ``TEST.EVAL_ONLY``, evaluates.

    Raises:
        UserError, DivergedError, IncompleteRunError: see :func:`train`.
        PeerFailedError: another process of the run failed first and says why.
        PeerLostError: another process of the run died, froze or was cut off.
    """
    try:
        with one_voice():
            check_start(cfg)
            return evaluate(cfg) if cfg.TEST.EVAL_ONLY else train(cfg)
    finally:
        shutdown()


def resume_path(cfg: CfgNode) -> str:
    """``RESUME``, with "auto" resolved: the same on every process, "" to start anew."""
    if cfg.RESUME != AUTO:
        return cfg.RESUME
    return from_main(lambda: str(run_folder(cfg).newest() or ""))


def _begin(cfg: CfgNode) -> torch.device:
    """Joins the processes of the run; the log goes to the console and is kept for the file."""
    device = init_from_env(cfg.MODEL.DEVICE, timedelta(minutes=cfg.DIST.TIMEOUT_MINUTES))
    setup_logging(rank=get_rank(), backlog=True)
    import_installed()
    import_plugins(cfg.PLUGINS)
    if cfg.PLUGINS:
        logger.info("plug-ins: %s", ", ".join(cfg.PLUGINS))
    check_packages(cfg, load=True)
    limit_threads()
    if device.type == "cpu":
        keep_freed_memory()
    seed_everything(cfg.SEED)
    return device


def with_its_network(cfg: CfgNode, path: str) -> CfgNode:
    """The config whose network is that of the file ``path``, where ``MODEL.INIT_NETWORK`` asks for it."""
    if not (cfg.MODEL.INIT_NETWORK and path):
        return cfg
    cfg = adopt_network(cfg, path)
    check_packages(cfg, load=True)
    return cfg


@contextmanager
def _opened(cfg: CfgNode, folder: RunFolder) -> Iterator[None]:
    """The moment from which on the run writes: the main process holds the folder, every process logs into it."""
    prefix = EVALUATION_PREFIX if cfg.TEST.EVAL_ONLY else ""
    with ExitStack() as stack:
        if is_main():
            stack.enter_context(folder.open())
        barrier()  # nobody logs into a folder that the main process could not open
        if is_main():
            sweep(folder.path)
        log_to_folder(folder.path, get_rank(), prefix)
        if is_main():
            write_run_header(folder.path, cfg, prefix)
        yield


def _results(cfg: CfgNode, trainer: Trainer, newest: Path) -> dict[str, Any]:
    evaluation = next(hook for hook in trainer.hooks if isinstance(hook, EvaluationHook))
    return {
        "finished": trainer.stop_reason is None,
        "seed": cfg.SEED,
        "initial": evaluation.initial_results,
        "last": evaluation.last_results,
        "best": evaluation.best_results,
        "checkpoint": str(newest) if newest.is_file() else "",
    }


def _write_results(output_dir: Path, results: dict[str, Any]) -> None:
    if is_main():
        _report(results)
        atomic_write_text(output_dir / RESULTS, json.dumps(results, indent=2) + "\n")


def _with_way_back(error: Exception, newest: Path) -> Exception:
    """A divergence with the sentence about the last good state, which an extraction does not know."""
    sentence = last_good(newest)
    if not isinstance(error, DivergedError) or sentence in str(error):
        return error
    return DivergedError(f"{error} {sentence}")


def _after_training(error: Exception, newest: Path, what: str = "its evaluation failed") -> Exception:
    """What to raise when something failed after the training: nothing is lost, and the message says so."""
    kept = f"The training is done and saved: go on with RESUME {newest}, or score it with TEST.EVAL_ONLY True."
    if isinstance(error, (PeerFailedError, PeerLostError)):
        return error
    if isinstance(error, (UserError, DivergedError)):
        return type(error)(f"{error} {kept}")
    logger.error("%s", what, exc_info=error)
    return IncompleteRunError(f"After the training {what} ({type(error).__name__}: {error}). {kept}")


def _report(results: dict[str, Any]) -> None:
    rows = {}
    if results["initial"]:
        rows["untrained"] = results["initial"]
    if results["last"]:
        rows[f"last epoch ({results['last']['epoch']})"] = results["last"]
    if results["best"]:
        by = SELECTED[results["best"]["selected_by"].partition(":")[0]]
        rows[f"epoch {results['best']['epoch']}, {by}"] = results["best"]
    table = {
        f"{name}, {row}" if len(rows) > 1 else name: scores
        for row, result in rows.items()
        for name, scores in result.items()
        if isinstance(scores, dict)
    }
    if table:
        logger.info("\n%s", format_table(table))
