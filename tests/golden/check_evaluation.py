"""Distances, CMC, mAP and re-ranking as recorded from the reference evaluators."""

from __future__ import annotations

import numpy as np
import torch

from unreid.evaluation.distance import pairwise_distance
from unreid.evaluation.metrics import RankingResult, cmc_map
from unreid.evaluation.rerank import rerank, rerank_features

from .cases import Case, checks


@checks("common", "CMC and mAP")
def check_cmc_and_map(case: Case) -> None:
    data = case.arrays()
    topk = case.params["topk"]
    real = data["gallery_ids"] != -1  # the loaders drop junk, the metric does not know it

    def score(keep: np.ndarray | slice = real, **options: object) -> RankingResult:
        return cmc_map(
            data["distmat"][:, keep],
            data["query_ids"],
            data["gallery_ids"][keep],
            data["query_cams"],
            data["gallery_cams"][keep],
            topk=topk,
            **options,  # type: ignore[arg-type]
        )

    market, everything = score(), score(slice(None))
    exact = {"rtol": 0, "atol": 1e-9}
    np.testing.assert_array_equal(market.valid, data["valid_query"])
    np.testing.assert_allclose(market.cmc, data["cmc_market"], **exact)
    np.testing.assert_allclose(market.mAP, data["mAP"], **exact)
    np.testing.assert_allclose(market.ap[market.valid], data["ap_valid"], **exact)
    np.testing.assert_allclose(score(ap="trapezoid").mAP, data["mAP_trapezoid"], **exact)
    np.testing.assert_allclose(everything.mAP, data["mAP_junk_kept"], **exact)
    np.testing.assert_allclose(everything.cmc, data["cmc_market_junk_kept"], **exact)
    np.testing.assert_allclose(score(first_match_break=False).cmc, data["cmc_allshots"], **exact)
    np.testing.assert_allclose(score(separate_camera_set=True).cmc, data["cmc_separate_camera"], **exact)
    cuhk03 = score(
        separate_camera_set=True,
        single_gallery_shot=True,
        first_match_break=False,
        repeats=2000,
        generator=torch.Generator().manual_seed(1),
    )
    np.testing.assert_allclose(cuhk03.cmc, data["cmc_cuhk03_mean"], rtol=0, atol=0.01)


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
    np.testing.assert_allclose(rerank(*blocks, **case.params).numpy(), data["final"], rtol=0, atol=2e-5)


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
