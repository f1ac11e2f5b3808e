"""AuxUSL's losses, distances, constrained DBSCAN, pseudo-label step, evaluation and training steps as recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreid.clustering.constrained_dbscan import CannotLinks, ConstrainedDBSCAN
from unreid.losses import IdentityLoss, MutualTeachingLoss, Outputs, nearest_clusters, soft_entropy
from unreid.losses.identity import CROSS_ENTROPY, RANKED, SMOOTHED
from unreid.losses.triplet import (
    hardest_triplets,
    soft_margin_triplet,
    soft_triplet,
    triplet_distances,
    weighted_adaptive_triplet,
)
from unreid.models.ema import MeanTeacher
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
    for name, option in (("ce", CROSS_ENTROPY), ("lsce", SMOOTHED), ("rlsce", RANKED)):
        identity = IdentityLoss(option, epsilon=params["epsilon"], k=params["K"])
        identity.nearest = nearest
        loss, gradient = value_and_gradient(partial(identity, targets=data["targets"]), data["logits"])
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
    identity = IdentityLoss(params["id_option"], epsilon=params["epsilon"], k=params["K"])
    if "nearest_map" in data:
        own = torch.eye(params["num_clusters"], dtype=torch.bool)
        others = data["nearest_map"].bool() & ~own
        identity.nearest = others.nonzero()[:, 1].view(len(others), -1)
    objective = MutualTeachingLoss(
        identity,
        tri_option=params["tri_option"],
        margin=params["margin"],
        lambda_=params["lambda_"],
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
    links = CannotLinks.from_pairs(*np.nonzero(data["in_cannot_link"]), len(data["in_D"]))
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
