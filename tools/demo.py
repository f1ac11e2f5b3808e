"""The demonstration behind ``make demo``: render, train, evaluate, and say what came out and where it is.

python tools/demo.py [--config-file F] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the baselines are benchmarks, not part of the package

from benchmarks.baselines import raw_pixel_features, striped_histogram_features
from unreid.config import load_config
from unreid.data.datasets import build_dataset
from unreid.engine.cli import guarded
from unreid.engine.run import run
from unreid.evaluation.distance import DistanceBlocks
from unreid.evaluation.evaluator import format_table
from unreid.evaluation.metrics import cmc_map

CONFIG = "configs/ClusterContrast_synthetic.yml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", default=CONFIG)
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    arguments = parser.parse_args()
    started = time.perf_counter()
    cfg = load_config(arguments.config_file, ["OUTPUT_DIR", "logs/demo", "TEST.RANKED_LIST", "8", *arguments.overrides])
    results = run(cfg)
    if not results["finished"]:
        raise SystemExit(1)
    name = str(cfg.DATASETS.NAMES[0])
    rows = baselines(name, cfg)
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
        print(f"  {what:12} {path}")


def baselines(name: str, cfg: Any) -> dict[str, dict[str, float]]:
    """Scores without any learning: what "trained" must be compared with."""
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
