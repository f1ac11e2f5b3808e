"""Command lines: ``tools/main.py`` and the console command ``unreid``.

Nothing here imports torch before the config has been read and checked: a wrong word is answered at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unreid.config import CfgNode, load_config
from unreid.engine.listing import list_parts
from unreid.engine.preflight import check_start
from unreid.utils.errors import DivergedError, IncompleteRunError, PeerFailedError, PeerLostError, UserError
from unreid.utils.logging import discard_stdout
from unreid.utils.signals import EXIT_INTERRUPTED, Interrupted, say, stop_name, stop_signals

logger = logging.getLogger(__name__)

EXIT_FAILURE = 1
EXIT_USER_ERROR = 2
GRACE = 10.0  # seconds; torchrun ends the other processes of a machine as soon as one has failed

STATUSES = (
    "exit status: 0 done; 1 a failure, the last checkpoint stays; 2 a mistake in config, files or data, a file that "
    "cannot be written, or a diverged loss; 130 stopped by a signal, go on with RESUME"
)
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
    """``unreid train|eval --config-file F [KEY VALUE ...]`` and ``unreid list [KIND]``."""
    parser = argparse.ArgumentParser(
        prog="unreid", description="Unsupervised object re-identification.", epilog=STATUSES
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a model", epilog=STATUSES)
    _add_run_arguments(train)
    train.set_defaults(eval_only=False)
    evaluate = commands.add_parser("eval", help="evaluate a checkpoint: RESUME path/to/checkpoint.pth", epilog=STATUSES)
    _add_run_arguments(evaluate)
    evaluate.set_defaults(eval_only=True)
    listing = commands.add_parser("list", help="what a config can name: kinds of parts, or the names of one kind")
    listing.add_argument("kind", nargs="?", default=None, metavar="KIND", help="such as methods or hooks")
    listing.add_argument("--plugins", nargs="+", default=[], metavar="P", help="files or modules to import first")
    arguments = parser.parse_args(argv)
    if arguments.command == "list":
        return guarded(lambda: list_parts(arguments.kind, arguments.plugins))
    return guarded(lambda: _run(arguments))


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", default=None, metavar="F", help=f"YAML file over the defaults: {EXAMPLES}")
    parser.add_argument("--repeat", type=int, default=1, metavar="K", help="run K seeds; print mean and deviation")
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")


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


def guarded(command: Callable[[], None], name: str = "unreid") -> int:
    """Runs a command; a user's mistake becomes one sentence on standard error and exit status 2, a signal 130.

    Of several processes only the first to fail speaks; all of them end with a status other than 0.
    """
    try:
        with stop_signals():
            return _guarded(command, name)
    except KeyboardInterrupt as error:
        if _first_to_fail():
            say(f"{name}: {error or 'interrupted'}")
        return EXIT_INTERRUPTED


def _guarded(command: Callable[[], None], name: str) -> int:
    try:
        command()
        sys.stdout.flush()
    except PeerFailedError as error:
        if _let_the_first_speak():
            say(f"{name}: {error.__cause__ or error}")
        return EXIT_FAILURE
    except PeerLostError as error:
        say(f"{name}: {error}")
        return EXIT_FAILURE
    except BrokenPipeError:  # ``| head`` has read enough
        discard_stdout()
        return EXIT_FAILURE
    except (UserError, DivergedError) as error:
        if not (_first_to_fail() or _let_the_first_speak()):
            return EXIT_FAILURE
        say(f"{name}: {error}")
        return EXIT_USER_ERROR
    except Exception as error:
        if stop_name():  # a signal to all processes of the run: workers may have ended before it could
            logger.debug("after the signal", exc_info=True)
            raise Interrupted(f"stopped by {stop_name()}; the run's log says how far it was") from error
        if not (_first_to_fail() or _let_the_first_speak()):
            return EXIT_FAILURE
        if not isinstance(error, IncompleteRunError):
            raise
        say(f"{name}: {error}")
        return EXIT_FAILURE
    return 0


def _have_met() -> bool:
    """Whether the processes of the run have met; without torch they cannot have."""
    distributed = sys.modules.get("unreid.utils.distributed")
    return distributed is not None and distributed.have_met()


def _first_to_fail() -> bool:
    """Whether this process is the first of the run that fails; before they meet, the first of every machine is."""
    if not _have_met():
        return int(os.environ.get("LOCAL_RANK", "0")) == 0
    return sys.modules["unreid.utils.distributed"].first_to_fail()


def _let_the_first_speak() -> bool:
    """Waits, where the processes have not met, for torchrun to end this one because the first has failed too.

    Returns:
        True if nobody did: then this process is the only one that knows what is wrong.
    """
    if _have_met():
        return False
    time.sleep(GRACE)
    return True
