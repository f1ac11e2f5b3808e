"""What a person's answers are worth: a simulated reviewer corrects a run, and the next run learns from it.

    python benchmarks/reviewer.py [--seeds 1 2] [--answers 50 200 500] [--config ClusterContrast_synthetic]
        [--out FILE.json] [--write-docs] [--set KEY VALUE ...]
    python benchmarks/reviewer.py --read FILE.json --write-docs     # only the table, of what --out has kept

A run on the rendered world is reviewed as on the page: the most doubtful cluster first, and of it what is most
doubtful: is its first neighbour the same identity, are its two halves, does a crop belong to it? The true labels
answer, as the majority of a cluster or half has it. Once no doubt is above 0.1, clusters are looked through one after
the other, from the least sure one on: every stranger that is taken out is an answer, and so is the confirmation at the
end; then the unassigned crops. One question is one answer. After 50, 200 and 500 of them
the same training starts anew from the same seed with ``CLUSTER.REVIEW``.

Two figures: agreement of the corrected labels with the truth (no training in between), beside that of a reviewer who is
asked about the same kinds of things in random order; and the scores of the next run, on identities nobody was asked
about. One thread, one run at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.methods import machine, replace_block
from unreid.utils.writing import atomic_write_text

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "review.md"
QUIET = [
    *("MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0", "OVERWRITE", "True"),
    *("TEST.EVAL_START", "False", "TEST.EVAL_PERIOD", "0", "CHECKPOINT.PERIOD", "0"),
    *("LOG.TENSORBOARD", "False", "LOG.CLUSTER_IMAGES", "0", "LOG.PROGRESS", "False"),
]
QUALITY = ("pair_precision", "pair_recall", "cross_camera_recall", "ari")


FLOOR = 0.1  # doubts that are asked about


class Reviewer:
    """Answers questions about a session from true identities.

    Args:
        session: the review.
        pids: int64 (N,), the truth.
        order: "doubt" or "random".
    """

    def __init__(self, session: Any, pids: Any, order: str, seed: int = 0) -> None:
        self.session, self.pids, self.order = session, pids, order
        self.random = random.Random(seed)
        self.answers = 0

    def identity(self, cluster: int) -> int:
        """What most members are."""
        return self.majority(self.session.geometry.members[cluster])

    def majority(self, crops: Any) -> int:
        """The most frequent identity of some crops."""
        return Counter(self.pids[crops].tolist()).most_common(1)[0][0]

    def ask(self, count: int) -> None:
        """Goes on until ``count`` answers were given in all, or nothing is left to ask."""
        geometry = self.session.geometry
        while self.answers < count:
            clusters = [cluster for cluster in geometry.members if geometry.doubt(cluster) > FLOOR]
            if not clusters or (self.order == "random" and self.random.random() < 0.3):
                self.answers += 1
                if not (self.look_through() or self.about_unassigned()):
                    self.answers -= 1
                    return
                continue
            if self.order == "doubt":
                cluster = max(clusters, key=geometry.doubt)
            else:
                cluster = self.random.choice(clusters)
            part, split = geometry.part_doubt(cluster), geometry.split_doubt(cluster)
            misfit = float(geometry.misfits(cluster)[0].max())
            questions = {self.about_neighbour: part, self.about_halves: split, self.about_member: misfit}
            possible = [question for question in questions if questions[question] > FLOOR]
            if self.order == "doubt":
                question = max(possible, key=questions.__getitem__)
            else:
                question = self.random.choice(possible)
            self.answers += 1
            question(cluster)

    def about_neighbour(self, cluster: int) -> None:
        """Is the most likely neighbour (or any of the ten) the same identity?"""
        near = self.session.geometry.neighbours(cluster)
        other = near[0][0] if self.order == "doubt" else self.random.choice(near)[0]
        if self.identity(cluster) == self.identity(other):
            self.session.merge(cluster, other)
        else:
            self.session.apart(cluster, other)

    def about_halves(self, cluster: int) -> None:
        """Are the two halves of the cluster one identity?"""
        geometry = self.session.geometry
        members, side = geometry.members[cluster], geometry.halves(cluster)
        smaller, larger = members[side < 0], members[side >= 0]
        if self.majority(smaller) == self.majority(larger):
            self.session.confirm(cluster, [geometry.medoid(smaller), geometry.medoid(larger)])
        else:
            self.session.split(smaller.tolist())

    def about_member(self, cluster: int) -> None:
        """Does the most doubtful crop (or any doubtful one) belong here, to the other cluster, or to neither?"""
        geometry = self.session.geometry
        members = geometry.members[cluster]
        doubt, other = geometry.misfits(cluster)
        places = np.flatnonzero(doubt.astype(np.float64) > FLOOR)
        place = int(doubt.argmax()) if self.order == "doubt" else int(self.random.choice(places.tolist()))
        crop, target = int(members[place]), int(other[place])
        if self.pids[crop] == self.identity(cluster) or len(members) == 1:
            self.session.confirm(cluster, [crop])
        elif self.pids[crop] == self.identity(target):
            self.session.move([crop], target)
        else:
            self.session.split([crop])

    def look_through(self) -> bool:
        """Takes one stranger out of the least sure cluster, or confirms it; False when all are confirmed."""
        geometry = self.session.geometry
        left = [cluster for cluster in geometry.members if not self.session.is_done(cluster)]
        if not left:
            return False
        if self.order == "doubt":
            cluster = min(left, key=lambda cluster: float(geometry.confidence(cluster).mean()))
        else:
            cluster = self.random.choice(left)
        members, own = geometry.members[cluster], self.identity(cluster)
        strangers = members[self.pids[members] != own]
        if not len(strangers):
            self.session.confirm(cluster)
            return True
        crop = int(strangers[0])
        self._place(crop, cluster)
        return True

    def about_unassigned(self) -> bool:
        """Places the unassigned crop with most neighbours in one cluster; False when none is left."""
        crops = np.flatnonzero(self.session.labels == -1)
        crops = crops[[not self.session.judged(int(crop)) for crop in crops]]
        if not len(crops):
            return False
        self._place(int(crops[self.session.geometry.closeness(crops).argmax()]), None)
        return True

    def _place(self, crop: int, home: int | None) -> None:
        """Moves a crop to the suggested cluster of its identity, if there is one."""
        near = [cluster for cluster, _ in self.session.geometry.nearest(np.array([crop]), home)]
        right = next((cluster for cluster in near if self.identity(cluster) == self.pids[crop]), None)
        if right is not None:
            self.session.move([crop], right)
        elif home is not None:
            self.session.split([crop])
        else:
            self.session.refuse([crop], near[0])


def train(config: str, seed: int, folder: Path, data: Path, overrides: list[str]) -> dict[str, float]:
    """One training in a process of its own; its scores and the agreement of its last labels."""
    keys = ["SEED", str(seed), "OUTPUT_DIR", str(folder), "DATASETS.ROOT", str(data), *QUIET, *overrides]
    command = [sys.executable, "-m", "unreid", "train", "--config-file", str(ROOT / "configs" / f"{config}.yml"), *keys]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = json.loads((folder / "results.json").read_text())["last"]
    scores = next(value for value in last.values() if isinstance(value, dict))
    return {"mAP": scores["mAP"], "R1": scores["R1"]}


def measure(config: str, seed: int, counts: list[int], work: Path, data: Path, overrides: list[str]) -> dict[str, Any]:
    """Everything about one seed."""
    from unreid.config import load_config
    from unreid.engine.data import build_data
    from unreid.engine.review import crops_of_run
    from unreid.evaluation.diagnostics import cluster_report
    from unreid.review import Session, Store, export_answers

    base = work / f"seed_{seed}" / "answers_0"
    rows: dict[str, Any] = {"0": {"next": train(config, seed, base, data, overrides)}}
    crops = crops_of_run(base, [])
    built = build_data(load_config(str(base / "config.yaml"), []))
    assert built.truth is not None
    pids = built.truth.pids

    def quality(labels: Any) -> dict[str, float]:
        report = cluster_report(labels, pids, crops.cameras)
        return {name: 100 * report[name] for name in QUALITY} | {"clusters": report["clusters"]}

    rows["0"] |= {"labels": quality(crops.labels), "random": quality(crops.labels), "final": quality(crops.labels)}
    tables = {}
    for order in ("doubt", "random"):
        path = work / f"seed_{seed}" / f"{order}.sqlite"
        path.unlink(missing_ok=True)
        with Store.open(path, crops.keys, crops.labels) as store:
            session = Session(crops, store)
            reviewer = Reviewer(session, pids, order, seed)
            for count in counts:
                reviewer.ask(count)
                row = rows.setdefault(str(count), {})
                row["labels" if order == "doubt" else "random"] = quality(session.labels.clip(min=-1))
                if order == "doubt":
                    row["answers"] = reviewer.answers
                    row["kinds"] = Counter(action.kind for action in store.actions())
                    tables[count] = path.with_name(f"answers_{count}.csv")
                    export_answers(tables[count], path)
    for count, table in tables.items():
        folder = work / f"seed_{seed}" / f"answers_{count}"
        review = ["CLUSTER.REVIEW", json.dumps([str(table)])]
        rows[str(count)]["next"] = train(config, seed, folder, data, [*overrides, *review])
        rows[str(count)]["final"] = quality(crops_of_run(folder, []).labels)
        print(f"seed {seed}, {count} answers: {json.dumps(rows[str(count)])}", flush=True)
    return rows


def table(results: dict[str, Any]) -> str:
    """Means and deviations over the seeds, as Markdown."""
    seeds = list(results["seeds"].values())
    lines = [
        "| answers | corrected labels: precision / cross-camera recall / ARI | the same, asked at random | next run: "
        "precision / cross-camera recall / ARI | next run: mAP | R1 |",
        "| ---: | --- | --- | --- | ---: | ---: |",
    ]

    def spread(count: str, part: str, name: str) -> str:
        values = [seed[count][part][name] for seed in seeds]
        deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):.1f}{deviation}"

    for count in seeds[0]:
        cells = [
            " / ".join(spread(count, part, name) for name in ("pair_precision", "cross_camera_recall", "ari"))
            for part in ("labels", "random", "final")
        ]
        lines.append(
            "| " + " | ".join([count, *cells, spread(count, "next", "mAP"), spread(count, "next", "R1")]) + " |"
        )
    return "\n".join(lines)


def block(results: dict[str, Any]) -> str:
    """The table with where it comes from."""
    seeds = list(results["seeds"])
    many = "Seeds" if len(seeds) > 1 else "Seed"
    how = f"{many} {', '.join(seeds)} of `{results['config']}`, {results['machine']}, one thread, {results['date']}:"
    return f"{how}\n\n{table(results)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--answers", type=int, nargs="+", default=[50, 200, 500])
    parser.add_argument("--config", default="ClusterContrast_synthetic")
    parser.add_argument("--work", help="folder of runs and data (default: a temporary one)")
    parser.add_argument("--out", help="JSON file of the results")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into docs/{DOCS.name}")
    parser.add_argument("--read", metavar="FILE", help="JSON file of an earlier --out: measure nothing")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY VALUE", dest="overrides")
    arguments = parser.parse_args()
    results = json.loads(Path(arguments.read).read_text()) if arguments.read else measure_all(arguments)
    print(table(results))
    if arguments.write_docs:
        atomic_write_text(DOCS, replace_block(DOCS.read_text(), "reviewer", block(results)))


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every seed, one after the other; ``--out`` is written after each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    results: dict[str, Any] = {
        "config": arguments.config,
        "overrides": arguments.overrides,
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "seeds": {},
    }
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(arguments.work or temporary)
        data = work / "data"
        for seed in arguments.seeds:
            counts = sorted(arguments.answers)
            found = measure(arguments.config, seed, counts, work, data, arguments.overrides)
            results["seeds"][str(seed)] = found
            if arguments.out:
                atomic_write_text(arguments.out, json.dumps(results, indent=1) + "\n")
    return results


if __name__ == "__main__":
    main()
