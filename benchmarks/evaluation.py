"""Ranking and re-ranking against straightforward versions, in one run.

    python benchmarks/evaluation.py [--queries 3368 --gallery 19732] [--rerank 2000] [--threads 2] [--json FILE]

- CMC and mAP of a stored distance matrix: ours, against argsort and a Python loop over queries with scikit-learn's
  average precision, which is what the published evaluators do (they argsort twice; the loop here does it once).
- k-reciprocal re-ranking: ours, against dense matrices with a loop over rows, at a size where those are bearable; then
  ours alone at the full size.

Every measurement runs in a process of its own; memory is its peak resident size above the inputs. Ratios are those of
CPU seconds, which other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from torch import Tensor

from unreid.evaluation.distance import pairwise_distance
from unreid.evaluation.metrics import cmc_map
from unreid.evaluation.rerank import rerank_features

IDENTITIES, CAMERAS, DIM = 751, 6, 256


def features(queries: int, gallery: int) -> tuple[Tensor, Tensor, list[np.ndarray]]:
    """Unit rows around one centre per identity, and q_pids, g_pids, q_camids, g_camids."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((IDENTITIES, DIM), dtype=np.float32)
    pids = [rng.integers(0, IDENTITIES, size) for size in (queries, gallery)]
    camids = [rng.integers(0, CAMERAS, size) for size in (queries, gallery)]
    rows = (centres[p] + 2.0 * rng.standard_normal((len(p), DIM), dtype=np.float32) for p in pids)
    query, gallery_rows = (torch.nn.functional.normalize(torch.from_numpy(part)) for part in rows)
    return query, gallery_rows, [*pids, *camids]


def loop_cmc_map(dist: np.ndarray, ids: list[np.ndarray], topk: int = 100) -> dict[str, float]:
    """The textbook evaluator: one query after the other."""
    from sklearn.metrics import average_precision_score

    q_pids, g_pids, q_cams, g_cams = ids
    order = np.argsort(dist, axis=1)
    cmc, scores = np.zeros(topk), []
    for i in range(len(dist)):
        kept = order[i][(g_pids[order[i]] != q_pids[i]) | (g_cams[order[i]] != q_cams[i])]
        hits = g_pids[kept] == q_pids[i]
        if hits.any():
            scores.append(average_precision_score(hits, -dist[i, kept]))
            first = int(np.flatnonzero(hits)[0])
            if first < topk:
                cmc[first] += 1
    cmc = cmc.cumsum() / len(scores)
    return {"mAP": 100 * float(np.mean(scores)), **{f"R{k}": 100 * float(cmc[k - 1]) for k in (1, 5, 10)}}


def loop_rerank(query: Tensor, gallery: Tensor, k1: int = 20, k2: int = 6, weight: float = 0.3) -> np.ndarray:
    """The textbook re-ranking: dense matrices, one row after the other."""
    both = torch.cat([query, gallery])
    original = pairwise_distance(both, both).numpy() ** 2
    original = (original / original.max(axis=0)).T
    ranks = np.argsort(original, axis=1)
    n, queries = len(both), len(query)
    encoding = np.zeros((n, n), dtype=np.float32)

    def reciprocal(i: int, m: int) -> np.ndarray:
        near = ranks[i, :m]
        return near[(ranks[near, :m] == i).any(axis=1)]

    for i in range(n):
        base = members = reciprocal(i, k1 + 1)
        for c in base:
            half = reciprocal(c, int(np.around(k1 / 2)) + 1)
            if len(np.intersect1d(half, base)) > 2 / 3 * len(half):
                members = np.append(members, half)
        members = np.unique(members)
        shares = np.exp(-original[i, members])
        encoding[i, members] = shares / shares.sum()
    encoding = np.stack([encoding[ranks[i, :k2]].mean(axis=0) for i in range(n)])
    users = [np.flatnonzero(encoding[:, column]) for column in range(n)]
    jaccard = np.empty((queries, n), dtype=np.float32)
    for i in range(queries):
        shared = np.zeros(n, dtype=np.float32)
        for column in np.flatnonzero(encoding[i]):
            shared[users[column]] += np.minimum(encoding[i, column], encoding[users[column], column])
        jaccard[i] = 1 - shared / (2 - shared)
    return (jaccard * (1 - weight) + original[:queries] * weight)[:, queries:]


def our_ranking(query: Tensor, gallery: Tensor, ids: list[np.ndarray]) -> Callable[[], Any]:
    dist = pairwise_distance(query, gallery)
    return lambda: cmc_map(dist, *ids).as_dict()


def loop_ranking(query: Tensor, gallery: Tensor, ids: list[np.ndarray]) -> Callable[[], Any]:
    dist = pairwise_distance(query, gallery).numpy()
    import sklearn.metrics  # noqa: F401 (its import is no part of the time)

    return lambda: loop_cmc_map(dist, ids)


def our_reranking(query: Tensor, gallery: Tensor, ids: list[np.ndarray]) -> Callable[[], Any]:
    return lambda: cmc_map(rerank_features(query, gallery), *ids).as_dict()


def loop_reranking(query: Tensor, gallery: Tensor, ids: list[np.ndarray]) -> Callable[[], Any]:
    return lambda: cmc_map(loop_rerank(query, gallery), *ids).as_dict()


def _child(prepare: Callable[..., Callable[[], Any]], sizes: tuple[int, int], threads: int, answer: Any) -> None:
    torch.set_num_threads(threads)
    run = prepare(*features(*sizes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    result = run()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    answer.send(
        {
            "seconds": round(seconds, 3),
            "cpu_seconds": round(cpu, 3),
            "peak_mib": round(peak / 1024),
            "scores": result,
        }
    )


def measure(name: str, prepare: Callable[..., Callable[[], Any]], sizes: tuple[int, int], threads: int) -> dict:
    """Runs ``prepare(...)()`` in a fresh process and prints what it took."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(prepare, sizes, threads, theirs))
    process.start()
    theirs.close()
    row = {"name": name, "queries": sizes[0], "gallery": sizes[1], **ours.recv()}
    process.join()
    scores = "  ".join(f"{key} {value:.3f}" for key, value in row["scores"].items())
    print(
        f"{name:<24}{sizes[0]:>6} x {sizes[1]:<7}{row['seconds']:>8.2f} s"
        f"{row['cpu_seconds']:>8.2f} CPU s{row['peak_mib']:>7} MiB   {scores}"
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--gallery", type=int, default=19732)
    parser.add_argument("--rerank", type=int, default=2000, help="rows of the dense re-ranking, a fifth are queries")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    full, small = (args.queries, args.gallery), (args.rerank // 5, args.rerank - args.rerank // 5)
    rows = []
    for what, ours, loop, sizes in (
        ("CMC and mAP", our_ranking, loop_ranking, full),
        ("re-ranking", our_reranking, loop_reranking, small),
    ):
        mine = measure(f"{what}, ours", ours, sizes, args.threads)
        theirs = measure(f"{what}, loop", loop, sizes, args.threads)
        gap = max(abs(mine["scores"][key] - theirs["scores"][key]) for key in mine["scores"])
        ratio = theirs["cpu_seconds"] / mine["cpu_seconds"]
        print(f"{'':<24}{ratio:.1f} times faster, scores differ by at most {gap:.1e} points\n")
        rows += [mine, {**theirs, "ratio": round(ratio, 2), "largest_difference": gap}]
    rows.append(measure("re-ranking, ours", our_reranking, full, args.threads))
    if args.json:
        args.json.write_text(json.dumps({"threads": args.threads, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
