"""Command lines: ``tools/main.py`` and the console command ``unreid``.

Nothing here imports torch before the config has been read and checked: a wrong word is answered at once.
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import unreid
from unreid.config import CfgNode, get_cfg, load_config
from unreid.engine.commands import COMMANDS
from unreid.engine.commands.command import Command, HelpFormatter, epilog
from unreid.engine.exits import STATUSES, guarded
from unreid.engine.preflight import check_start
from unreid.utils.errors import UserError
from unreid.utils.signals import Interrupted

logger = logging.getLogger(__name__)

EXAMPLES = (
    "configs/ClusterContrast_market.yml, configs/CDSM_msmt17.yml or one of your own; "
    "configs/ClusterContrast_synthetic.yml renders its own data"
)


def run_main(argv: Sequence[str] | None = None) -> int:
    """``tools/main.py --config-file F [--eval-only] [--repeat K] [KEY VALUE ...]``."""
    parser = argparse.ArgumentParser(description="Train or evaluate an unsupervised re-ID model.", epilog=STATUSES)
    _add_run_arguments(parser)
    parser.add_argument("--eval-only", action="store_true", help="same as TEST.EVAL_ONLY True")
    arguments = parser.parse_args(argv)
    return guarded(lambda: _run(arguments))


def main(argv: Sequence[str] | None = None) -> int:
    """``unreid COMMAND ...``; returns the exit status."""
    arguments = command_line()[0].parse_args(argv)
    return guarded(lambda: arguments.run(arguments))


def command_line() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The parser of ``unreid``, and those of its commands by name."""
    parser = argparse.ArgumentParser(
        prog="unreid",
        description="Unsupervised object re-identification.",
        epilog=epilog("train --config-file ClusterContrast_market.yml DATASETS.ROOT /data"),
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"unreid {unreid.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (TRAIN, EVAL, *COMMANDS):
        command.add_to(commands)
    return parser, commands.choices


def _add_run_arguments(parser: argparse.ArgumentParser, **given: bool) -> None:
    parser.set_defaults(**given)
    parser.add_argument("--config-file", default=None, metavar="F", help=f"YAML file over the defaults: {EXAMPLES}")
    parser.add_argument("--repeat", type=int, default=1, metavar="K", help="run K seeds; print mean and deviation")
    parser.add_argument(
        "overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="keys to change (or KEY=VALUE)"
    )


def _run(arguments: argparse.Namespace) -> None:
    overrides = list(arguments.overrides)
    late = [word for word in overrides if word.startswith("--")]
    if late:
        raise UserError(f"{late[0]} stands among the KEY VALUE pairs: options such as {late[0]} come before them.")
    if not arguments.config_file:
        raise UserError(f"Say what to run with --config-file: {EXAMPLES}.")
    if arguments.eval_only:
        overrides += ["TEST.EVAL_ONLY", "True"]
    if not 1 <= arguments.repeat <= 1000:
        raise UserError(f"--repeat takes a number of runs between 1 and 1000, not {arguments.repeat}.")
    cfg = load_config(arguments.config_file, overrides)
    if cfg == get_cfg():
        raise UserError(f"{arguments.config_file} sets no key. Say what to run: {EXAMPLES}.")
    if arguments.repeat == 1:
        if not run_config(cfg).get("finished", True):
            raise Interrupted("interrupted; the run's log says how to go on")
        return
    repeat(arguments.config_file, overrides, cfg, arguments.repeat)


def run_config(cfg: CfgNode) -> dict[str, Any]:
    """Runs a frozen config; the heavy rooms are imported once nothing is wrong with it."""
    check_start(cfg)
    from unreid.engine.run import run

    return run(cfg)


def repeat(
    config_file: str | None, overrides: Sequence[str], cfg: CfgNode, count: int
) -> dict[str, tuple[float, float]]:
    """Runs ``count`` seeds from ``SEED`` on, each in its own folder, and logs mean and standard deviation.

    Returns:
        "test set/score" -> (mean, sample standard deviation), of the last epoch.
    """
    runs = {}
    for seed in range(cfg.SEED, cfg.SEED + count):
        folder = str(Path(cfg.OUTPUT_DIR) / f"seed_{seed}")
        runs[seed] = load_config(config_file, [*overrides, "SEED", str(seed), "OUTPUT_DIR", folder])
        check_start(runs[seed])  # all of them before the first begins
    scores: dict[str, list[float]] = {}
    for seed, own in runs.items():
        results = run_config(own)
        if not results.get("finished", True):
            raise Interrupted(
                f"stopped in seed {seed}, so there is no mean over {count} seeds; its run is in {own.OUTPUT_DIR}"
            )
        for name, row in results.get("last", results).items():
            if isinstance(row, dict):
                for key, value in row.items():
                    scores.setdefault(f"{name}/{key}", []).append(value)
    summary = {}
    for name, values in scores.items():
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        summary[name] = (statistics.fmean(values), deviation)
        logger.info("%s over %d seeds: %.1f +- %.1f", name, len(values), *summary[name])
    return summary


TRAIN = Command(
    name="train",
    summary="Train a model.",
    example="--config-file ClusterContrast_market.yml DATASETS.ROOT /data OUTPUT_DIR logs/market",
    add_arguments=partial(_add_run_arguments, eval_only=False),
    run=_run,
)
EVAL = Command(
    name="eval",
    summary="Evaluate a checkpoint: RESUME path/to/checkpoint.pth.",
    example="--config-file CDSM_market.yml DATASETS.ROOT /data RESUME logs/CDSM_market/checkpoint.pth",
    add_arguments=partial(_add_run_arguments, eval_only=True),
    run=_run,
)
