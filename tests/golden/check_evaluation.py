"""Distances, CMC, mAP and re-ranking as recorded from the reference evaluators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from unreid.evaluation.distance import pairwise_distance
from unreid.evaluation.metrics import RankingResult, cmc_map
from unreid.evaluation.rerank import rerank, rerank_features

from .cases import Case, checks

INFORMATION_ONLY = {"cmc_cuhk03_std_of_one_call", "cmc_cuhk03_npseed0"}


@checks("common", "CMC and mAP")
def check_cmc_and_map(case: Case) -> None:
    data = case.arrays()

    def score(junk: bool = False, **options: Any) -> RankingResult:
        # The loaders drop junk (id -1), the metric does not know it.
        keep = np.full(len(data["gallery_ids"]), True) if junk else data["gallery_ids"] != -1
        gallery = data["gallery_ids"][keep], data["query_cams"], data["gallery_cams"][keep]
        return cmc_map(data["distmat"][:, keep], data["query_ids"], *gallery, topk=case.params["topk"], **options)

    def classic_cuhk03() -> np.ndarray:
        generator = torch.Generator().manual_seed(1)
        options = {"separate_camera_set": True, "single_gallery_shot": True, "first_match_break": False}
        return score(**options, repeats=2000, generator=generator).cmc

    market = score()
    ours: dict[str, Callable[[], Any]] = {
        "cmc_market": lambda: market.cmc,
        "cmc_allshots": lambda: score(first_match_break=False).cmc,
        "cmc_separate_camera": lambda: score(separate_camera_set=True).cmc,
        "cmc_cuhk03_mean": classic_cuhk03,
        "mAP": lambda: market.mAP,
        "ap_valid": lambda: market.ap[market.valid],
        "mAP_trapezoid": lambda: score(ap="trapezoid").mAP,
        "valid_query": lambda: market.valid,
        "mAP_junk_kept": lambda: score(junk=True).mAP,
        "cmc_market_junk_kept": lambda: score(junk=True).cmc,
    }
    for name in set(case.entry["outputs"]) - INFORMATION_ONLY:
        atol = 0.01 if name == "cmc_cuhk03_mean" else 1e-9
        np.testing.assert_allclose(ours[name](), data[name], rtol=0, atol=atol, err_msg=name)


@checks("buc", "evaluation")
def check_buc_evaluation(case: Case) -> None:
    data = case.arrays()
    close = {"rtol": 1e-5, "atol": 1e-5}
    dist = pairwise_distance(torch.from_numpy(data["in_query"]), torch.from_numpy(data["in_gallery"]))
    np.testing.assert_allclose(dist.numpy(), data["out_distmat"], **close)
    ids = [data[f"in_{name}"] for name in ("query_id", "gallery_id", "query_cam", "gallery_cam")]
    result = cmc_map(dist, *ids, topk=len(data["out_cmc"]), ap="trapezoid")
    np.testing.assert_allclose(result.mAP, data["out_mAP_trapezoid"], **close)
    np.testing.assert_allclose(result.mean_ap("step"), data["out_mAP_step"], **close)
    np.testing.assert_allclose(result.cmc, data["out_cmc"], **close)


@checks("common", "k-reciprocal re-ranking for evaluation")
def check_reranking(case: Case) -> None:
    data = case.arrays()
    blocks = [torch.from_numpy(data[name]) for name in ("q_g", "q_q", "g_g")]
    options = {name: case.params[name] for name in ("k1", "k2", "lambda_value")}
    np.testing.assert_allclose(rerank(*blocks, **options).numpy(), data["final"], rtol=0, atol=2e-5)


@checks("ccc", "evaluation")
def check_ccc_evaluation(case: Case) -> None:
    data, params = case.arrays(), case.params
    metric = params["distance"].lower().replace(" ", "_")
    query, gallery = torch.from_numpy(data["in_query"]), torch.from_numpy(data["in_gallery"])
    dist = pairwise_distance(query, gallery, metric)
    np.testing.assert_allclose(dist.numpy(), data["out_distmat"], rtol=0, atol=1e-5)
    if params["rerank"]:
        options = {name: params[name] for name in ("k1", "k2", "lambda_value")}
        dist = rerank_features(query, gallery, metric=metric, **options)
        np.testing.assert_allclose(dist.numpy(), data["out_reranked"], rtol=0, atol=1e-4)
    ids = [data[f"in_{name}"] for name in ("q_pids", "g_pids", "q_cams", "g_cams")]
    result = cmc_map(dist, *ids, topk=len(data["out_cmc"]))
    np.testing.assert_allclose(result.cmc, data["out_cmc"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.mAP, data["out_mAP"], rtol=0, atol=1e-6)
