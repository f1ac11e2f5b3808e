"""Makes the networks that come with the package again, and measures what their cards say.

    python benchmarks/weights.py [--names rendered_o2cap] [--photographs ROOT]      # make weights

Each recipe is trained with seeds 1, 2 and 3; the network of seed 1 is the one that ships, whatever it scores: that was
fixed before the first run. It is stored in half precision as ``unreid/weights/NAME.pth``, and the numbers go into the
marked blocks of the card beside it. Trained seeds (``logs/weights``) are kept; the same command goes on where it was
stopped. ROOT is that of ``benchmarks/real.py``; without it the rows of photographs stay as they are.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.methods import machine, replace_block, spread  # noqa: E402
from unreid.utils.shipped_weights import CARD, FOLDER, SUFFIX  # noqa: E402
from unreid.utils.writing import atomic_write_text  # noqa: E402

RECIPES = {"rendered_o2cap": "O2CAP_synthetic", "rendered_cluster_contrast": "ClusterContrast_synthetic"}
SEEDS = (1, 2, 3)
RELEASED = 1
WORLDS = (0, 1, 2, 3, 4)
PHOTOGRAPHS = {"cuhk01": "CUHK01", "cuhk03p1": "CUHK03, camera pair 1"}
HISTOGRAM = "striped colour histogram"
SMALL = [
    *("DATASETS.SYNTHETIC.TRAIN_IDS", "4", "DATASETS.SYNTHETIC.TEST_IDS", "30", "DATASETS.SYNTHETIC.DISTRACTORS", "0"),
]
"""What the tests have time for."""
SMALL_TITLE = "30 people, as the tests score"
RUNS = Path("logs", "weights")
RESULTS = ROOT / "benchmarks" / "results" / "weights.json"


def train(name: str, config: str) -> None:
    """All seeds that are not there yet, below the current directory: a card's config names no other place."""
    missing = [seed for seed in SEEDS if not (RUNS / name / f"seed_{seed}" / "results.json").is_file()]
    for seed in missing:
        settings = ["SEED", str(seed), "OUTPUT_DIR", str(RUNS / name / f"seed_{seed}"), "OVERWRITE", "True"]
        words = [sys.executable, "tools/main.py", "--config-file", f"configs/{config}.yml", *settings]
        subprocess.run(words, check=True, cwd=ROOT)


def pack(name: str, config: str) -> Path:
    """The file that ships: the network of the released seed in half precision, with the config it was trained with."""
    import torch

    from unreid.config import load_config
    from unreid.models.checkpoint_format import Checkpoint, unpack
    from unreid.utils.io import atomic_save, load_checkpoint

    source = RUNS / name / f"seed_{RELEASED}" / "checkpoint.pth"
    trained = unpack(load_checkpoint(source), source)
    half = {
        key: value.to(torch.float16) if value.is_floating_point() else value for key, value in trained.model.items()
    }
    cfg = load_config(ROOT / "configs" / f"{config}.yml", ["SEED", str(RELEASED)])
    target = FOLDER / f"{name}{SUFFIX}"
    atomic_save(Checkpoint(half, cfg.dump(), feature=trained.feature).pack(), target)
    return target


def places(photographs: Path | None) -> dict[str, list[str]]:
    """What is scored on: title -> config keys."""
    found = {f"world {world}": ["DATASETS.SYNTHETIC.SEED", str(world)] for world in WORLDS}
    found[SMALL_TITLE] = SMALL
    for folder, title in PHOTOGRAPHS.items():
        if photographs is not None and (photographs / folder).is_dir():
            found[title] = [
                *("DATASETS.NAMES", "['ImageFolder']", "DATASETS.FOLDER.PATH", str(photographs / folder)),
                *("DATASETS.FOLDER.CAMERA_REGEX", r"_c(\d)_", "DATASETS.FOLDER.PID_REGEX", r"(?:^|/)(\d{4})_c"),
            ]
    return found


def score(file: str | Path, config: str, where: list[str]) -> dict[str, float]:
    """mAP and rank-1 of a network, in percent."""
    from unreid.config import load_config
    from unreid.engine.run import evaluate

    with tempfile.TemporaryDirectory() as folder:
        settings = ["TEST.EVAL_ONLY", "True", "RESUME", str(file), "OUTPUT_DIR", folder, "LOG.PROGRESS", "False"]
        scores = evaluate(load_config(ROOT / "configs" / f"{config}.yml", [*settings, *where]))
    return {key: next(iter(scores.values()))[key] for key in ("mAP", "R1")}


def baseline(config: str, where: list[str]) -> dict[str, float]:
    """The striped histogram on the same images."""
    from unreid.config import load_config
    from unreid.data.datasets import build_dataset
    from unreid.evaluation import striped_histogram_features
    from unreid.evaluation.evaluator import Evaluator

    cfg = load_config(ROOT / "configs" / f"{config}.yml", where)
    dataset = build_dataset(cfg.DATASETS.NAMES[0], cfg)
    sides = (
        striped_histogram_features([t.paths[0] for t in split.tracklets]) for split in (dataset.query, dataset.gallery)
    )
    scores = Evaluator(dataset.query, dataset.gallery).score(*sides)
    return {key: scores[key] for key in ("mAP", "R1")}


def measure(name: str, config: str, where: Mapping[str, list[str]]) -> dict[str, Any]:
    """Scores of every seed, of the file that ships, and of the histogram, by place."""
    found: dict[str, Any] = {}
    for title, keys in where.items():
        seeds = [score(RUNS / name / f"seed_{seed}" / "checkpoint.pth", config, keys) for seed in SEEDS]
        found[title] = {"seeds": seeds, "file": score(name, config, keys), "histogram": baseline(config, keys)}
    return found


def table(found: Mapping[str, Any]) -> str:
    """The block of a card."""
    lines = [
        f"| mAP / rank-1 | {HISTOGRAM} | seeds 1, 2, 3: mAP | rank-1 | this file (seed {RELEASED}) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for title, one in found.items():
        m, r = (spread([seed[key] for seed in one["seeds"]]) for key in ("mAP", "R1"))
        plain, file = (f"{one[who]['mAP']:.1f} / {one[who]['R1']:.1f}" for who in ("histogram", "file"))
        lines.append(f"| {title} | {plain} | {m} | {r} | {file} |")
    return "\n".join(lines)


def write_card(name: str, file: Path, found: Mapping[str, Any]) -> None:
    """Size and hash in the head, the table in the body."""
    card = file.with_suffix(CARD)
    text = card.read_text(encoding="utf-8")
    content = file.read_bytes()
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "measured": datetime.date.today()}
    kept = [line for line in head.splitlines() if line.partition(":")[0] not in facts]
    head = "\n".join([*kept, *(f"{key}: {value}" for key, value in facts.items())])
    atomic_write_text(card, replace_block(f"---\n{head}\n---\n{body}", "scores", table(found)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="+", default=[*RECIPES], choices=[*RECIPES])
    parser.add_argument("--photographs", type=Path, default=None, metavar="ROOT", help="see benchmarks/real.py")
    options = parser.parse_args()
    photographs = options.photographs and options.photographs.resolve()
    os.chdir(ROOT)
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in options.names:
        config = RECIPES[name]
        train(name, config)
        file = pack(name, config)
        found = {**kept.get(name, {}).get("scores", {}), **measure(name, config, places(photographs))}
        kept[name] = {"machine": machine(), "date": f"{datetime.date.today()}", "scores": found}
        atomic_write_text(RESULTS, json.dumps(kept, indent=1) + "\n")
        write_card(name, file, found)
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes\n{table(found)}")


if __name__ == "__main__":
    main()
