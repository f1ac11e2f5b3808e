#!/usr/bin/env python3
"""How good the choice of ``unreid tune`` is, on features whose identities are known.

    python benchmarks/tune.py FOLDER NAME...     # reads FOLDER/NAME_{train,query,gallery}.npz

Each file holds ``features`` (N, D), ``pids`` and ``camids`` (N,). The sweep sees features and cameras of the training
files alone. Afterwards every choice is judged with labels: F1 of its pairs, F1 of pair precision and cross-camera
recall, and what its clusters teach, the mAP of query against gallery after the within-class covariance of the clusters
has been whitened (WCCN): a stand-in for a training, in closed form.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import checkout  # noqa: F401
import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from unreid.engine.tuning.judge import judged
from unreid.engine.tuning.options import Values
from unreid.engine.tuning.sweep import Row, sweep
from unreid.evaluation import cmc_map, pairwise_distance
from unreid.neighbors import PairGraphBuilder

KEPT = 128  # principal directions that WCCN works in
QUERIES = 300
SIGNALS = {  # exponents of stability, silhouette and crossing
    "stability": (1, 0, 0),
    "silhouette": (0, 1, 0),
    "crossing": (0, 0, 1),
    "stability x silhouette": (1, 1, 0),
    "x crossing ** 0.25": (1, 1, 0.25),
    "x crossing ** 0.5": (1, 1, 0.5),
    "x crossing": (1, 1, 1),
}


def read(path: Path) -> tuple[Tensor, np.ndarray, np.ndarray]:
    with np.load(path) as arrays:
        return F.normalize(torch.from_numpy(arrays["features"]).float()), arrays["pids"], arrays["camids"]


class Whitening:
    """mAP of query against gallery once the scatter inside the clusters of a labelling is whitened."""

    def __init__(self, folder: Path, name: str, features: Tensor) -> None:
        query, gallery = read(folder / f"{name}_query.npz"), read(folder / f"{name}_gallery.npz")
        chosen = np.random.default_rng(0).permutation(len(query[0]))[:QUERIES]
        mean = features.mean(dim=0)
        directions = torch.linalg.svd((features - mean)[:: max(1, len(features) // 1500)], full_matrices=False)[2]
        self.basis = directions[:KEPT].T
        self.train = (features - mean) @ self.basis
        self.sides = (query[0][chosen] - mean) @ self.basis, (gallery[0] - mean) @ self.basis
        self.ids = query[1][chosen], gallery[1], query[2][chosen], gallery[2]

    def plain(self) -> float:
        return self._map(torch.eye(self.basis.shape[1]))

    def __call__(self, labels: Tensor) -> float:
        inside = labels >= 0
        _, member, sizes = torch.unique(labels[inside], return_inverse=True, return_counts=True)
        rows = self.train[inside]
        centres = torch.zeros(len(sizes), rows.shape[1]).index_add_(0, member, rows) / sizes[:, None]
        spread = (rows - centres[member])[sizes[member] > 1]
        if len(sizes) < 2 or len(spread) < 10:
            return self.plain()
        scatter = spread.T @ spread / len(spread)
        scatter += 0.3 * scatter.trace() / len(scatter) * torch.eye(len(scatter))
        values, vectors = torch.linalg.eigh(scatter)
        return self._map(vectors @ torch.diag(values.clamp(min=1e-9) ** -0.5) @ vectors.T)

    def _map(self, transform: Tensor) -> float:
        query, gallery = (F.normalize(side @ transform) for side in self.sides)
        return cmc_map(pairwise_distance(query, gallery), *self.ids).as_dict()["mAP"]


def score(row: Row, powers: tuple[float, float, float]) -> float:
    figures = row.stability, max(0.0, row.silhouette), min(1.0, row.crossing or 0.0)
    return float(np.prod([figure**power for figure, power in zip(figures, powers)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--out", type=Path, help="a JSON file with all figures of all choices")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    stored = {}
    for name in arguments.names:
        features, pids, camids = read(arguments.folder / f"{name}_train.npz")
        begun = time.perf_counter()
        rows = sweep(features, torch.from_numpy(camids), Values(), PairGraphBuilder())
        seconds = time.perf_counter() - begun
        whitening = Whitening(arguments.folder, name, features)
        truth = judged(rows, pids, torch.from_numpy(camids))
        for row, entry in zip(rows, truth):
            entry["map"] = whitening(row.labels.long())
        references = f"as it is {whitening.plain():.1f}, with true labels {whitening(torch.from_numpy(pids)):.1f}"
        print(f"\n{name}: {len(features)} images, {len(rows)} choices in {seconds:.0f} s; mAP {references}")
        report(rows, truth)
        stored[name] = [
            {**vars(row.space), "eps": row.eps, "min_samples": row.min_samples, "clusters": row.clusters}
            | {"outliers": row.outliers, "stability": row.stability, "silhouette": row.silhouette}
            | {"crossing": row.crossing, "score": row.score, **entry}
            for row, entry in zip(rows, truth)
        ]
        if arguments.out:
            arguments.out.write_text(json.dumps(stored, indent=1))


def report(rows: list[Row], truth: list[dict[str, float]]) -> None:
    targets = ("pair_f1", "cross_camera_f1", "map")
    columns = {target: np.array([entry[target] for entry in truth]) for target in targets}
    print(f"{'signal':<24}" + "".join(f"{target + ': rho, chosen, best':>36}" for target in targets) + "  choice")
    for signal, powers in SIGNALS.items():
        scores = np.array([score(row, powers) for row in rows])
        chosen = int(scores.argmax())
        cells = "".join(
            f"{spearmanr(scores, column).statistic:>+16.2f}{column[chosen]:>10.3g}{column.max():>10.3g}"
            for column in columns.values()
        )
        row = rows[chosen]
        print(f"{signal:<24}{cells}  {row.space}, eps {row.eps:g}, min {row.min_samples}")


if __name__ == "__main__":
    main()
