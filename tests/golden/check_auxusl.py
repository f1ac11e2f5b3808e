"""AuxUSL's losses, distances, constrained DBSCAN, pseudo-label step, evaluation and training steps as recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreid.clustering.adaptive_eps import adaptive_eps
from unreid.clustering.constrained_dbscan import ConstrainedDBSCAN
from unreid.clustering.dbscan import dbscan
from unreid.config import get_cfg, load_config
from unreid.constraints import (
    DenseRelation,
    Links,
    Modifier,
    Penalty,
    SpatioTemporalFactor,
    TrainConstraints,
    modify_graph,
)
from unreid.evaluation.distance import DistanceBlocks
from unreid.evaluation.metrics import cmc_map
from unreid.evaluation.rerank import rerank_features
from unreid.losses import (
    LOSSES,
    CrossEntropy,
    LabelSmoothing,
    Loss,
    LossInputs,
    MutualTeachingLoss,
    Outputs,
    RankedLabelSmoothing,
    SoftMarginTriplet,
    WeightedAdaptiveTriplet,
    nearest_clusters,
    soft_entropy,
)
from unreid.losses.triplet import (
    hardest_triplets,
    soft_margin_triplet,
    soft_triplet,
    triplet_distances,
    weighted_adaptive_triplet,
)
from unreid.methods import build_method
from unreid.methods.auxusl import AuxUSL
from unreid.models.ema import MeanTeacher
from unreid.neighbors.jaccard import MAX_RADIUS, jaccard_graph
from unreid.structures import PairGraph

from .cases import Case, checks


def close(name: str, found: Any, expected: np.ndarray, rtol: float, atol: float) -> None:
    found = found.detach().numpy() if isinstance(found, Tensor) else np.asarray(found)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=name)


def tensors(case: Case) -> dict[str, Tensor]:
    return {
        key.removeprefix("in_"): torch.from_numpy(value) for key, value in case.arrays().items() if key[:3] == "in_"
    }


def value_and_gradient(loss: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Tensor, Tensor]:
    leaf = start.clone().requires_grad_()
    value = loss(leaf)
    value.backward()
    assert leaf.grad is not None
    return value, leaf.grad


def marked(nearest: Tensor) -> np.ndarray:
    """The recorded form of a nearest map: 1 for a cluster itself and its nearest others."""
    out = torch.eye(len(nearest), dtype=torch.int8)
    return out.scatter_(1, nearest, 1).numpy()


@checks("auxusl", "id_losses")
def identity_losses(case: Case) -> None:
    data, expected, params = tensors(case), case.arrays(), case.params
    nearest = nearest_clusters(data["centers"], params["K"])
    np.testing.assert_array_equal(marked(nearest), expected["out_nearest_map"])
    ranked = RankedLabelSmoothing(params["epsilon"], params["K"])
    ranked.begin_round(data["centers"])
    losses = {"ce": CrossEntropy(), "lsce": LabelSmoothing(params["epsilon"]), "rlsce": ranked}
    for name, identity in losses.items():

        def value(logits: Tensor, identity: Loss = identity) -> Tensor:
            return identity(LossInputs(logits, data["targets"], logits=logits))

        loss, gradient = value_and_gradient(value, data["logits"])
        close(name, loss, expected[f"out_loss_{name}"], 1e-5, 0)
        close(f"gradient of {name}", gradient, expected[f"out_grad_{name}"], 1e-4, 1e-6)


@checks("auxusl", "triplet_losses")
def triplet_losses(case: Case) -> None:
    data, expected = tensors(case), case.arrays()
    triplets = hardest_triplets(data["emb"], data["labels"])

    def on(loss: Callable[..., Tensor], **options: float) -> Callable[[Tensor], Tensor]:
        return lambda x: loss(*triplet_distances(x, triplets), valid=triplets.valid, **options)

    taught = triplet_distances(data["emb_teacher"], triplets)
    losses = {
        "hard": on(soft_margin_triplet),
        "soft": lambda x: soft_triplet(*triplet_distances(x, triplets), *taught, triplets.valid),
    }
    for number, (margin, lambda_) in enumerate(case.params["watl"]):
        losses[f"watl{number}"] = on(weighted_adaptive_triplet, margin=margin, lambda_=lambda_)
    for name, loss in losses.items():
        value, gradient = value_and_gradient(loss, data["emb"])
        close(name, value, expected[f"out_loss_{name}"], 1e-4, 1e-6)
        close(f"gradient of {name}", gradient, expected[f"out_grad_{name}"], 2e-3, 1e-5)


@checks("auxusl", "soft_entropy")
def check_soft_entropy(case: Case) -> None:
    data, expected = tensors(case), case.arrays()
    teacher = data["teacher"].requires_grad_()
    value, gradient = value_and_gradient(lambda x: soft_entropy(x, teacher), data["student"])
    close("loss", value, expected["out_loss"], 1e-4, 1e-6)
    close("gradient", gradient, expected["out_grad"], 1e-4, 1e-6)
    assert teacher.grad is None


class Toy(nn.Module):
    """feat = x E^T, logits = feat W^T."""

    def __init__(self, enc: Tensor, classifier: Tensor) -> None:
        super().__init__()
        self.enc, self.classifier = nn.Parameter(enc), nn.Parameter(classifier)

    def forward(self, x: Tensor, clusters: int) -> Outputs:
        features = F.linear(x, self.enc)
        return Outputs(features, F.linear(features, self.classifier)[:, :clusters])


@checks("auxusl", "mean_teacher_steps")
def mean_teacher_steps(case: Case) -> None:
    data, expected, params = tensors(case), case.arrays(), case.params
    student = Toy(data["student_enc_weight"], data["student_classifier_weight"])
    teacher = MeanTeacher(Toy(data["teacher_enc_weight"], data["teacher_classifier_weight"]), params["alpha"])
    options = {"ID_OPTION": params["id_option"], "ID_K": params["K"], "CE.EPSILON": params["epsilon"]}
    cfg = load_config(None, [f"MODEL.LOSSES.{name}={value}" for name, value in options.items()])
    identity = LOSSES.get(cfg.MODEL.LOSSES.ID_OPTION).from_config(cfg)
    if "nearest_map" in data:
        own = torch.eye(params["num_clusters"], dtype=torch.bool)
        others = data["nearest_map"].bool() & ~own
        identity.load_state_dict({"nearest": others.nonzero()[:, 1].view(len(others), -1)})
    triplets = (SoftMarginTriplet(), WeightedAdaptiveTriplet(params["margin"], params["lambda_"]))
    objective = MutualTeachingLoss(
        identity,
        triplets[params["tri_option"] - 1],
        soft_id_weight=params["ce_soft_weight"],
        soft_tri_weight=params["tri_soft_weight"],
    )
    optimizer = torch.optim.Adam(
        student.parameters(), lr=params["lr"], betas=tuple(params["betas"]), weight_decay=params["weight_decay"]
    )
    names = {"id": "ce", "tri": "tri", "soft_id": "ce_soft", "soft_tri": "tri_soft"}
    for step in range(params["iterations"]):
        x, y = data["x"][step], data["y"][step]
        with torch.no_grad():
            taught = teacher.model(x, params["num_clusters"])
        said = student(x, params["num_clusters"])
        terms = objective.terms(said, taught, y)
        for ours, theirs in names.items():
            close(f"{theirs}, step {step}", terms[ours], expected[f"out_loss_{theirs}"][step], 1e-3, 1e-5)
        optimizer.zero_grad()
        torch.stack(list(objective(said, taught, y).values())).sum().backward()
        optimizer.step()
        teacher.update(student, params["epoch"] * params["iterations"] + step)
    for who, network in (("student", student), ("teacher", teacher.model)):
        close(who, network.enc, expected[f"out_{who}_enc_weight"], 1e-3, 2e-5)
        close(who, network.classifier, expected[f"out_{who}_classifier_weight"], 1e-3, 2e-5)


def graph_of(dense: np.ndarray) -> PairGraph:
    """Every pair of a symmetric distance matrix."""
    i, j = np.triu_indices(len(dense), k=1)
    dist = torch.from_numpy(dense[i, j].astype(np.float32))
    pairs = torch.from_numpy(i), torch.from_numpy(j), dist
    return PairGraph(len(dense), *pairs, radius=max(1.0, float(dist.max())), self_dist=torch.zeros(len(dense)))


@checks("auxusl", "icdbscan")
def constrained_dbscan(case: Case) -> None:
    data, params = case.arrays(), case.params
    links = Links.from_pairs(*np.nonzero(data["in_cannot_link"]), data["in_cannot_link"].shape)
    for number, relaxed in enumerate(params["relaxed"]):
        for mode in ("clean", "ordered"):
            clusterer = ConstrainedDBSCAN(
                params["eps"], params["min_samples"], links=links, relaxed=relaxed, mode=mode, tol=0.0
            )
            for fit, name in (("first", "in_D"), ("second", "in_D_second")):
                labels = clusterer.cluster(torch.empty(0), graph_of(data[name])).labels.numpy()
                np.testing.assert_array_equal(labels, data[f"out_{fit}_{mode}_{number}"], f"{fit}, {mode}, {relaxed}")
                if params["order_independent"] and fit == "first":
                    np.testing.assert_array_equal(labels, data[f"out_first_reference_{number}"])


def known(matrix: Tensor) -> DenseRelation:
    return DenseRelation(matrix.numpy())


def train_modifiers(data: dict[str, Tensor], scp: float | None, strength: float | None, gamma: float) -> list[Modifier]:
    modifiers: list[Modifier] = []
    if scp is not None:
        modifiers.append(Penalty(known(data["scp"]), scp))
    if strength is not None:
        modifiers.append(SpatioTemporalFactor(known(data["sts_p"]), strength, gamma))
    return modifiers


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix[~np.eye(len(matrix), dtype=bool)]


@checks("auxusl", "distance_and_eps")
def distance_and_eps(case: Case) -> None:
    data, expected, params = tensors(case), case.arrays(), case.params
    modifiers = train_modifiers(data, params["scp_lambda"], params["sts_lambda"], params["sts_gamma"])
    dense = data["D"].clone()
    for modifier in modifiers:
        dense = modifier.apply(dense, slice(0, len(dense)))
    close("dense", dense, expected["out_D_mod"], 1e-5, 1e-6)
    graph = modify_graph(graph_of(expected["in_D"]), modifiers)
    close("graph", off_diagonal(graph.to_dense().numpy()), off_diagonal(expected["out_D_mod"]), 1e-5, 1e-6)
    eps = adaptive_eps(graph, rho=params["rho"], zero_tol=0.0)
    close("eps", eps, expected["out_eps"], 1e-5, 0)
    clusters = dbscan(graph, eps, min_samples=1, tol=0.0)[0].max() + 1
    assert int(clusters) == int(expected["out_num_clusters"])
    assert round(0.6 * int(clusters)) == int(expected["out_num_iters"])


@checks("auxusl", "evaluation")
def evaluation(case: Case) -> None:
    data, expected, params = tensors(case), case.arrays(), case.params
    toc = Penalty(known(data["toc"]), params["toc_penalty"])
    scp = Penalty(known(data["scp"]), params["scp_lambda"])
    sts = SpatioTemporalFactor(known(data["sts_p"]), params["sts_lambda"], params["sts_gamma"])
    variants: dict[str, list[Modifier]] = {
        "plain": [],
        "toc": [toc],
        "scp": [scp],
        "sts": [sts],
        "all": [toc, scp, sts],
    }
    ids = [expected[f"in_{name}"] for name in ("query_id", "gallery_id", "query_cam", "gallery_cam")]
    for name, modifiers in variants.items():
        blocks = DistanceBlocks(data["query"], data["gallery"], modifiers=modifiers)
        distances = blocks.dense()
        close(name, distances, expected[f"out_dist_{name}"], 1e-4, 1e-4)
        result = cmc_map(blocks, *ids, topk=len(expected[f"out_cmc_{name}"]))
        close(f"mAP {name}", result.mAP, expected[f"out_mAP_{name}"], 0, 1e-6)
        close(f"CMC {name}", result.cmc, expected[f"out_cmc_{name}"], 1e-4, 1e-4)
    if params["rerank"]:
        k1, k2, share = params["rerank"]
        found = rerank_features(data["query"], data["gallery"], q_g=distances, k1=k1, k2=k2, lambda_value=share)
        close("re-ranked", found, expected["out_dist_rerank"], 1e-4, 1e-4)
        result = cmc_map(expected["out_dist_rerank"], *ids, topk=len(expected["out_cmc_rerank"]))
        close("mAP re-ranked", result.mAP, expected["out_mAP_rerank"], 0, 1e-3)
        close("CMC re-ranked", result.cmc[:10], expected["out_cmc_rerank"][:10], 0, 0.02)


class Features(nn.Module):
    """Stands for a network whose features are given."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.feature_dim = self.pooled_dim = dim
        self.classifier = nn.Linear(dim, count, bias=False)


@checks("auxusl", "pseudo_label_step")
def pseudo_label_step(case: Case) -> None:
    data, expected = tensors(case), case.arrays()
    options = {"METHOD.NAME": "AuxUSL", "MODEL.EMA.ENABLED": True, "MODEL.CLASSIFIER": True, **case.params["options"]}
    cfg = get_cfg()
    cfg.merge_from_list([item for pair in options.items() for item in pair])
    features = data["features"]
    method = build_method(cfg, model=Features(*features.shape), camids=data["cams"])
    assert isinstance(method, AuxUSL)
    node = cfg.CLUSTER
    modifiers = train_modifiers(
        data,
        node.CCE_LAMBDA if node.CCE_OPTION else None,
        node.STR_LAMBDA if node.STR_OPTION else None,
        node.STR_GAMMA,
    )
    links = None
    if node.ICDBSCAN_OPTION:
        pairs = expected["in_cannot_link"]
        links = Links.from_pairs(*np.nonzero(pairs), pairs.shape)
    method.constrain(TrainConstraints(tuple(modifiers), links))

    plain = jaccard_graph(features, radius=MAX_RADIUS)
    tolerance = {"rtol": 1e-3, "atol": 2e-4}
    close("Jaccard", off_diagonal(plain.to_dense().numpy()), off_diagonal(expected["out_jaccard"]), **tolerance)
    changed = method.build_graph(features, MAX_RADIUS)
    i, j = changed.i.numpy(), changed.j.numpy()
    close("modified", changed.dist, expected["out_D_mod"][i, j], **tolerance)

    clustering = method.label(0, lambda feature: features)
    np.testing.assert_array_equal(clustering.labels.numpy(), expected["out_labels"])
    assert clustering.num_clusters == int(expected["out_num_clusters"])
    close("eps", clustering.eps, expected["out_eps"], 1e-3, 0)
    plan = method.plan(clustering, 0)
    assert plan.iters == int(expected["out_num_iters"])
    for network in (method.model, method.teacher.model):
        close(
            "classifier", network.classifier.weight[: clustering.num_clusters], expected["out_classifier"], 1e-4, 1e-6
        )
    if "out_nearest_map" in expected:
        np.testing.assert_array_equal(marked(method.loss.identity.state_dict()["nearest"]), expected["out_nearest_map"])
