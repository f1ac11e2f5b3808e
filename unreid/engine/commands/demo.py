"""``unreid demo``: render, train, evaluate, and say what came out, beside scores without any learning."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unreid.config import CfgNode, load_config
from unreid.config.shipped import shipped_folder
from unreid.config.sources import read_pairs
from unreid.engine.commands.command import Command
from unreid.engine.preflight import check_start
from unreid.utils.shipped_weights import CARD, locate_weights, shipped_names
from unreid.utils.signals import Interrupted

if TYPE_CHECKING:
    from unreid.data.datasets import ReIDDataset

CONFIG = "ClusterContrast_synthetic.yml"
OWN_FOLDER = ["OUTPUT_DIR", "logs/demo", "OVERWRITE", "True"]  # made anew each time the demo is shown
PRETRAINED = "rendered_o2cap"
"""What ``--pretrained`` scores; ``RESUME NAME`` chooses another network."""

NEUTRAL = ("OUTPUT_DIR", "OVERWRITE", "SEED", "DATASETS.ROOT", "RESUME")
SPREAD = """
One run is one draw: seeds 1, 2 and 3 ended at 59.4, 59.0 and 56.3 mAP on one machine (58.2 ± 1.7)
and at 62.3, 52.3 and 55.8 on another (56.8 ± 5.1). What differs by less is noise."""
"""Of the shipped config, measured on 2026-11-27 and 2026-11-21."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", metavar="F", help=f"YAML file over the defaults (default: {CONFIG})")
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help=f"train nothing: score a network that comes with the package ({PRETRAINED}; RESUME NAME for another)",
    )
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")


def run(arguments: argparse.Namespace) -> None:
    started = time.perf_counter()
    if arguments.pretrained:
        _run_pretrained(arguments, started)
        return
    places = [] if "OUTPUT_DIR" in _named(arguments.overrides) else OWN_FOLDER
    config_file = arguments.config_file or shipped_folder() / CONFIG
    cfg = load_config(config_file, [*places, "TEST.RANKED_LIST", "8", *arguments.overrides])
    check_start(cfg)
    from unreid.engine.run import run as run_config

    results = run_config(cfg)
    if not results["finished"]:
        raise Interrupted("interrupted; the run's log says how to go on")
    sys.stdout.write(_report(cfg, results, started, spread(arguments.config_file, arguments.overrides)))


def _run_pretrained(arguments: argparse.Namespace, started: float) -> None:
    settings = ["TEST.EVAL_ONLY", "True", "MODEL.INIT_NETWORK", "True", "RESUME", PRETRAINED, "TEST.RANKED_LIST", "8"]
    places = ["OUTPUT_DIR", "logs/demo_pretrained"]
    cfg = load_config(arguments.config_file or shipped_folder() / CONFIG, [*places, *settings, *arguments.overrides])
    check_start(cfg)
    from unreid.engine.run import run as run_config

    scores = run_config(cfg)
    dataset = _test_set(cfg)
    rows = {**_baselines(dataset), f"{cfg.RESUME}, not trained here": scores[dataset.name]}
    output = Path(cfg.OUTPUT_DIR)
    known = [f"\nIts card: {locate_weights(cfg.RESUME).with_suffix(CARD)}"] if cfg.RESUME in shipped_names() else []
    sys.stdout.write(_page(cfg, dataset, rows, known, (("ranked list", output / "eval_ranked_list.jpg", ""),), started))


def spread(config_file: str | None, overrides: Sequence[str]) -> str:
    """What is known of other seeds, where the run is that of the shipped config; else nothing."""
    return SPREAD if not config_file and _named(overrides) <= {*NEUTRAL} else ""


def _named(overrides: Sequence[str]) -> set[str]:
    """The keys among KEY VALUE and KEY=VALUE words."""
    return {setting.key for setting in read_pairs(overrides)}


def _report(cfg: CfgNode, results: dict[str, Any], started: float, known: str) -> str:
    dataset = _test_set(cfg)
    rows = _baselines(dataset)
    if results["initial"]:
        rows["untrained network"] = results["initial"][dataset.name]
    rows[f"trained, last epoch ({results['last']['epoch']})"] = results["last"][dataset.name]
    output = Path(cfg.OUTPUT_DIR)
    places = (
        ("log", output / "log.txt", ""),
        ("metrics", output / "metrics.jsonl", ""),
        ("TensorBoard", output / "tensorboard", "tensorboard --logdir "),
        ("checkpoint", output / "checkpoint.pth", ""),
        ("ranked list", output / "ranked_list.jpg", ""),
    )
    return _page(cfg, dataset, rows, [known] if known else [], places, started)


def _page(
    cfg: CfgNode,
    dataset: ReIDDataset,
    rows: dict[str, dict[str, float]],
    known: Sequence[str],
    places: Sequence[tuple[str, Path, str]],
    started: float,
) -> str:
    from unreid.evaluation.evaluator import format_table

    lines = [
        f"\n{dataset.name}, rendered at world seed {cfg.DATASETS.SYNTHETIC.SEED}; scores in percent\n",
        format_table(rows),
        *known,
        f"\n{time.perf_counter() - started:.0f} s in all. Look at",
        *(f"  {what:12} {how}{path}" for what, path, how in places if path.exists()),
    ]
    return "\n".join(lines) + "\n"


def _test_set(cfg: CfgNode) -> ReIDDataset:
    """The first one, whose own name its scores have."""
    from unreid.data.datasets import build_dataset

    return build_dataset((cfg.DATASETS.TESTS or cfg.DATASETS.NAMES)[0], cfg)


def _baselines(dataset: ReIDDataset) -> dict[str, dict[str, float]]:
    """Scores without any learning: what "trained" must be compared with."""
    import torch

    from unreid.evaluation import DistanceBlocks, cmc_map, raw_pixel_features, striped_histogram_features

    query, gallery = dataset.query, dataset.gallery
    rows = {}
    for title, extract in (
        ("raw pixels", raw_pixel_features),
        ("striped colour histogram", striped_histogram_features),
    ):
        q, g = (
            torch.from_numpy(extract([tracklet.paths[0] for tracklet in split.tracklets])) for split in (query, gallery)
        )
        result = cmc_map(DistanceBlocks(q, g), query.truth.pids, gallery.truth.pids, query.camids, gallery.camids)
        rows[title] = result.as_dict()
    return rows


DEMO = Command(
    name="demo",
    summary="Render a small world, train on it without labels, evaluate, and say what came out.",
    example="OUTPUT_DIR logs/demo OPTIM.EPOCHS 10",
    add_arguments=add_arguments,
    run=run,
)
