"""The demonstration behind ``make demo``: render, train, evaluate, and say what came out and where it is.

python tools/demo.py [--config-file F] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout before any installed copy

from unreid.config import load_config
from unreid.engine.cli import STATUSES, guarded, run_config
from unreid.utils.signals import Interrupted

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "ClusterContrast_synthetic.yml"
OWN_FOLDER = ["OUTPUT_DIR", "logs/demo", "OVERWRITE", "True"]  # made anew each time the demo is shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog=STATUSES)
    parser.add_argument("--config-file", default=str(CONFIG))
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    arguments = parser.parse_args()
    started = time.perf_counter()
    places = [] if "OUTPUT_DIR" in arguments.overrides else OWN_FOLDER
    cfg = load_config(arguments.config_file, [*places, "TEST.RANKED_LIST", "8", *arguments.overrides])
    results = run_config(cfg)
    if not results["finished"]:
        raise Interrupted("interrupted; the run's log says how to go on")
    from unreid.evaluation.evaluator import format_table

    name = str(cfg.DATASETS.NAMES[0])
    rows = baselines(name, cfg)
    if results["initial"]:
        rows["untrained network"] = results["initial"][name]
    rows[f"trained, last epoch ({results['last']['epoch']})"] = results["last"][name]
    print(f"\n{name}, rendered at world seed {cfg.DATASETS.SYNTHETIC.SEED}; scores in percent\n")
    print(format_table(rows))
    output = Path(cfg.OUTPUT_DIR)
    print(f"\n{time.perf_counter() - started:.0f} s in all. Look at")
    for what, path in (
        ("log", output / "log.txt"),
        ("metrics", output / "metrics.jsonl"),
        ("TensorBoard", f"tensorboard --logdir {output / 'tensorboard'}"),
        ("checkpoint", output / "checkpoint.pth"),
        ("ranked list", output / "ranked_list.jpg"),
    ):
        if not isinstance(path, Path) or path.exists():
            print(f"  {what:12} {path}")


def baselines(name: str, cfg: Any) -> dict[str, dict[str, float]]:
    """Scores without any learning: what "trained" must be compared with."""
    import torch

    from benchmarks.baselines import raw_pixel_features, striped_histogram_features
    from unreid.data.datasets import build_dataset
    from unreid.evaluation.distance import DistanceBlocks
    from unreid.evaluation.metrics import cmc_map

    dataset = build_dataset(name, cfg)
    query, gallery = dataset.query, dataset.gallery
    rows = {}
    for title, extract in (
        ("raw pixels", raw_pixel_features),
        ("striped colour histogram", striped_histogram_features),
    ):
        q, g = (
            torch.from_numpy(extract([tracklet.paths[0] for tracklet in split.tracklets])) for split in (query, gallery)
        )
        cameras = ([t.camid for t in query.tracklets], [t.camid for t in gallery.tracklets])
        result = cmc_map(DistanceBlocks(q, g), query.truth.pids, gallery.truth.pids, *cameras)
        rows[title] = result.as_dict()
    return rows


if __name__ == "__main__":
    sys.exit(guarded(main))
