"""The two things a user does with a config: train and evaluate."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from unreid.config import CfgNode
from unreid.engine.build import build_evaluate, build_model, build_storage, build_trainer
from unreid.engine.checkpoint import load_model, load_run
from unreid.engine.data import Extraction, build_data
from unreid.engine.hooks import CheckpointHook, EvaluationHook
from unreid.engine.ranked import write_ranked_list
from unreid.evaluation.evaluator import format_table
from unreid.methods.base import METHODS
from unreid.utils.distributed import from_main, get_rank, init_from_env, is_main, one_voice, shutdown
from unreid.utils.environment import write_run_header
from unreid.utils.errors import UserError
from unreid.utils.io import atomic_write_text
from unreid.utils.logging import setup_logging
from unreid.utils.plugins import import_plugins
from unreid.utils.seed import seed_everything

logger = logging.getLogger(__name__)

AUTO = "auto"
"""Value of ``RESUME``: the newest checkpoint of ``OUTPUT_DIR``, where there is one."""

SELECTED = {
    "best_test": "best on the test set (chosen with test labels)",
    "label_free": "chosen without labels",
    "round": "end of the round fixed before training",
}


def train(cfg: CfgNode) -> dict[str, Any]:
    """Trains (or goes on from ``RESUME``) and returns the results that ``results.json`` holds.

    Returns:
        "initial", "last" and "best": test set -> {"mAP", "R1", "R5", "R10"} in percent, with the epoch; empty
        where nothing was evaluated.
    """
    output_dir, device = _prepare(cfg)
    checkpoint = resume_path(cfg)
    resumed = load_run(checkpoint) if checkpoint else None
    storage = build_storage(cfg, output_dir, resumed["state"]["global_step"] if resumed else None)
    trainer = build_trainer(cfg, output_dir, device, storage, resumed=resumed is not None)
    if resumed is not None:
        trainer.load_state_dict(resumed)
        del resumed
        logger.info("going on from %s: epoch %d, step %d", checkpoint, trainer.state.epoch, trainer.state.step)
    trainer.train()
    evaluation = next(hook for hook in trainer.hooks if isinstance(hook, EvaluationHook))
    newest = next(hook for hook in trainer.hooks if isinstance(hook, CheckpointHook)).newest
    results = {
        "finished": trainer.stop_reason is None,
        "seed": cfg.SEED,
        "initial": evaluation.initial_results,
        "last": evaluation.last_results,
        "best": evaluation.best_results,
        "checkpoint": str(newest),
    }
    if is_main():
        atomic_write_text(output_dir / "results.json", json.dumps(results, indent=2) + "\n")
        _report(results)
    if cfg.TEST.RANKED_LIST and trainer.stop_reason is None:
        write_ranked_list(cfg, trainer.method.encoder, trainer.method.retrieval_feature, device, output_dir)
    return results


def evaluate(cfg: CfgNode) -> dict[str, Any]:
    """Scores the checkpoint ``RESUME`` on the test sets and returns test set -> scores in percent."""
    if not cfg.RESUME:
        raise UserError("TEST.EVAL_ONLY needs a checkpoint: add RESUME path/to/checkpoint.pth.")
    output_dir, device = _prepare(cfg)
    checkpoint = resume_path(cfg)
    if not checkpoint:
        raise UserError(f"TEST.EVAL_ONLY with RESUME {AUTO}: there is no checkpoint.pth in {output_dir}.")
    model = build_model(cfg, device, pretrained=False)
    load_model(checkpoint, model)
    data = build_data(cfg, train=False)
    feature = METHODS.get(cfg.METHOD.NAME).retrieval_feature
    score = build_evaluate(cfg, data.tests, Extraction(cfg, device), feature)
    if score is None:
        raise UserError("There is nothing to evaluate on: no dataset in DATASETS.TESTS has a query and a gallery.")
    results = score(model)
    if is_main():
        atomic_write_text(output_dir / "evaluation.json", json.dumps({"checkpoint": checkpoint, **results}, indent=2))
        logger.info("%s\n%s", checkpoint, format_table(results))
    if cfg.TEST.RANKED_LIST:
        write_ranked_list(cfg, model, feature, device, output_dir)
    return results


def run(cfg: CfgNode) -> dict[str, Any]:
    """Trains or, with ``TEST.EVAL_ONLY``, evaluates.

    Raises:
        PeerFailedError: another process of the run failed first and says why.
    """
    try:
        with one_voice():
            return evaluate(cfg) if cfg.TEST.EVAL_ONLY else train(cfg)
    finally:
        shutdown()


def resume_path(cfg: CfgNode) -> str:
    """``RESUME``, with "auto" resolved: the same on every process, "" to start anew."""
    if cfg.RESUME != AUTO:
        return cfg.RESUME
    newest = Path(cfg.OUTPUT_DIR) / "checkpoint.pth"
    return from_main(lambda: str(newest) if newest.is_file() else "")


def _prepare(cfg: CfgNode) -> tuple[Path, Any]:
    output_dir = Path(cfg.OUTPUT_DIR)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"OUTPUT_DIR {output_dir} cannot be created: {error.strerror}.") from None
    device = init_from_env(cfg.MODEL.DEVICE)
    setup_logging(output_dir, get_rank())
    import_plugins(cfg.PLUGINS)
    seed_everything(cfg.SEED)
    if is_main():
        write_run_header(output_dir, cfg, prefix="eval_" if cfg.TEST.EVAL_ONLY else "")
    return output_dir, device


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
