"""Pseudo labels and scores in the style of scikit-learn, on features that you have already.

    python examples/sklearn_style.py                  # made-up features
    python examples/sklearn_style.py features.npz     # arrays x (N, D), and if known pids (N,) and camids (N,)

Every clusterer has ``fit_predict(X, camids=None)``, so that it can end a pipeline; pair graphs go to scipy, so that
clusterers of other libraries can read them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import DBSCAN as SklearnDBSCAN
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, normalize

import unreid


def made_up(identities: int = 20, cameras: int = 4, images: int = 5) -> dict[str, np.ndarray]:
    """Features (N, 64) of identities that every camera sees a little differently."""
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(identities), cameras * images)
    camids = np.tile(np.repeat(np.arange(cameras), images), identities)
    styles = 0.5 * rng.normal(size=(cameras, 64))
    x = rng.normal(size=(identities, 64))[pids] + styles[camids] + 0.5 * rng.normal(size=(len(pids), 64))
    return {"x": x, "pids": np.array([f"person {pid}" for pid in pids]), "camids": camids}


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Agreement of each clusterer's labels with the identities."""
    files = sys.argv[1:] if argv is None else argv
    data = dict(np.load(files[0])) if files else made_up()
    raw, pids, camids = data["x"], data.get("pids"), data.get("camids")
    x = normalize(raw)  # as retrieval does; the weights of the Jaccard distance expect unit rows

    graph = unreid.jaccard_graph(x, k1=20, k2=6, radius=0.6)
    labels = {
        "DBSCAN": unreid.DBSCAN(0.5, k1=20).fit_predict(x, camids),
        "HDC": unreid.HDC(20, k1=20).fit_predict(x, camids),
        "pipeline": make_pipeline(Normalizer(), PCA(16), unreid.DBSCAN(0.5, k1=20)).fit_predict(raw),
        "scikit-learn": SklearnDBSCAN(eps=0.5, min_samples=4, metric="precomputed").fit_predict(graph.to_scipy()),
    }
    reports: dict[str, dict[str, float]] = {}
    for name, found in labels.items():
        print(f"{name:14}{found.max() + 1:4} clusters, {(found < 0).sum()} outliers", end="")
        if pids is not None:
            reports[name] = unreid.cluster_report(found, pids, camids)
            print(f", ARI {reports[name]['ari']:.2f}, purity {reports[name]['purity']:.2f}", end="")
        print()
    if pids is not None:
        distances = unreid.pairwise_distance(x[::5], x)
        result = unreid.cmc_map(distances, pids[::5], pids, *(() if camids is None else (camids[::5], camids)))
        print(f"mAP {result.mAP:.3f}, mINP {result.mINP:.3f}, rank 1 {result.cmc[0]:.3f}")
        worst = int(np.nanargmin(result.table()["ap"]))
        print(f"the worst query is {worst}: its first match has rank {result.first_rank[worst]}")
    return reports


if __name__ == "__main__":
    main()
