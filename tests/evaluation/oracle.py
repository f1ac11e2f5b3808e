"""Slow, independent versions of what unreid/evaluation computes."""

from __future__ import annotations

import numpy as np


def textbook_ranking(dist, q_pids, g_pids, q_cams, g_cams, topk, first_match_break=True, separate=False):
    """CMC (topk,), AP by steps and by trapezoids (Q,); one query after the other."""
    bins, steps, trapezoids, valid_queries = np.zeros(topk), [], [], 0
    for row, pid, cam in zip(dist, q_pids, q_cams):
        kept = (g_cams != cam) if separate else (g_pids != pid) | (g_cams != cam)
        order = np.argsort(row, kind="stable")
        order = order[kept[order]]
        hit = g_pids[order] == pid
        if not hit.any():
            steps.append(np.nan), trapezoids.append(np.nan)
            continue
        valid_queries += 1
        positions = np.flatnonzero(hit)
        for j, position in enumerate(positions):
            if position - j < topk:
                bins[position - j] += 1 if first_match_break else 1 / len(positions)
            if first_match_break:
                break
        step = trapezoid = 0.0
        recall, precision = 0.0, 1.0
        for value in np.unique(row[order]):
            upto = row[order] <= value
            before = hit[row[order] < value]
            prev = before.mean() if len(before) else precision
            now, now_recall = hit[upto].mean(), hit[upto].sum() / hit.sum()
            step += (now_recall - recall) * now
            trapezoid += (now_recall - recall) * (prev + now) / 2
            recall = now_recall
        steps.append(step), trapezoids.append(trapezoid)
    return bins.cumsum() / max(valid_queries, 1), np.array(steps), np.array(trapezoids)


def random_test_set(seed, queries=12, gallery=60, ids=5, cameras=3, levels=0):
    """Distances (with ``levels`` > 0: so many distinct values) and identities with distractors of id 0."""
    rng = np.random.default_rng(seed)
    dist = rng.random((queries, gallery)).astype(np.float32)
    if levels:
        dist = np.floor(dist * levels).astype(np.float32)
    return (
        dist,
        rng.integers(1, ids + 1, queries),
        rng.integers(0, ids + 1, gallery),
        rng.integers(0, cameras, queries),
        rng.integers(0, cameras, gallery),
    )


def dense_rerank(q_g, q_q, g_g, k1, k2, lambda_value, square_input=True):
    """k-reciprocal re-ranking with dense float64 matrices and loops over rows, from the formulas."""
    dist = np.block([[q_q, q_g], [q_g.T, g_g]]).astype(np.float64)
    dist = dist**2 if square_input else dist
    original = (dist / dist.max(axis=0)).T
    n, queries = len(dist), len(q_g)
    ranked = original.copy()
    np.fill_diagonal(ranked, -1)
    ranks = np.argsort(ranked, axis=1, kind="stable")

    def reciprocal(i, m):
        return {j for j in ranks[i, :m] if i in ranks[j, :m]}

    encoding = np.zeros((n, n))
    for i in range(n):
        base = reciprocal(i, k1 + 1)
        members = set(base)
        for c in base:
            half = reciprocal(c, int(np.around(k1 / 2)) + 1)
            if 3 * len(half & base) > 2 * len(half):
                members |= half
        members = sorted(members)
        weight = np.exp(-original[i, members])
        encoding[i, members] = weight / weight.sum()
    if k2 > 1:
        encoding = np.stack([encoding[ranks[i, :k2]].mean(axis=0) for i in range(n)])
    shared = np.minimum(encoding[:queries, None], encoding[None, queries:]).sum(-1)
    jaccard = np.maximum(1 - shared / (2 - shared), 0)
    return (1 - lambda_value) * jaccard + lambda_value * original[:queries, queries:]
