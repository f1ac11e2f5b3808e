"""Recorded cases of the camera-aware methods: CA-Jaccard, O2CAP, PPLR."""

from __future__ import annotations

import numpy as np
import torch

from unreid.evaluation.camera_rerank import camera_rerank_features
from unreid.losses import agreement_smoothed_loss, inter_camera_contrast, refined_label_loss
from unreid.memory import ProxyMemory
from unreid.neighbors import camera_jaccard_graph
from unreid.neighbors.jaccard import MAX_RADIUS
from unreid.structures import Clustering

from .cases import Case, checks
from .check_clustering import BACKENDS
from .check_memory import close, tensors


@checks("camera", "CA-Jaccard distance")
def check_camera_jaccard(case: Case) -> None:
    data, params = case.arrays(), case.params
    first = params["round"] == 0  # the published training averages 3 + 3 rows in its first round
    for backend in BACKENDS:
        graph = camera_jaccard_graph(
            data["in_features"],
            data["in_cams"],
            k1_intra=params["k1_intra"],
            k1_inter=params["k1_inter"],
            k2_intra=3 if first else params["k2_intra"],
            k2_inter=3 if first else params["k2_inter"],
            ckrnn=params["ckrnns"],
            clqe=params["clqe"],
            k1=params["k1"],
            k2=params["k2"],
            radius=MAX_RADIUS,
            backend=backend,
        )
        np.testing.assert_allclose(graph.to_dense().numpy(), data["out_distance"], rtol=0, atol=2e-6)


@checks("camera", "CA-Jaccard re-ranking")
def check_camera_reranking(case: Case) -> None:
    data, params = tensors(case), case.params
    queries = len(data["in_query"])
    cameras = data["in_cams"]
    distance = camera_rerank_features(
        data["in_query"], data["in_gallery"], cameras[:queries], cameras[queries:], **params
    )
    close(distance, data["out_distance"], atol=5e-6)


@checks("camera", "O2CAP loss")
def check_proxy_memory(case: Case) -> None:
    data, params = tensors(case), case.params
    labels, cameras = data["in_labels"], data["in_cams"]
    memory = ProxyMemory(
        data["in_memory"].shape[1],
        intra=params["intra"],
        offline=params["offline"],
        online=params["online"],
        hard_negatives=params["hard_negatives"],
        online_positives=params["online_positives"],
        balance=params["balance"],
        temp=params["temperature"],
        momentum=params["momentum"],
        normalize_inputs=False,
    )
    memory.reset(torch.zeros(len(labels), memory.dim), Clustering.from_labels(labels), camids=cameras)
    recorded = torch.full((len(memory.bank),), -1)  # number that the recording gives to each of our proxies
    inside = labels >= 0
    recorded[memory.table[labels[inside], cameras[inside]]] = data["in_proxies"][inside]
    assert (recorded >= 0).all() and len(recorded) == len(data["in_memory"])
    memory.bank = data["in_memory"][recorded]
    batch = data["in_index"]
    inputs = data["in_features"].requires_grad_()
    loss = memory(inputs, labels[batch], camids=cameras[batch])
    loss.backward()
    close(loss, data["out_loss"], rtol=1e-5)
    close(inputs.grad, data["out_grad"], atol=1e-5)
    if "not updated" not in case.entry["definition"]:
        memory.update(inputs, labels[batch], camids=cameras[batch])
    close(memory.bank, data["out_memory"][recorded], atol=1e-6)


@checks("camera", "PPLR inter-camera contrastive loss")
def check_inter_camera_contrast(case: Case) -> None:
    data, params = tensors(case), case.params
    inputs = data["in_features"].requires_grad_()
    loss = inter_camera_contrast(
        inputs,
        data["in_labels"],
        data["in_cams"],
        data["in_proxies"],
        data["in_proxy_labels"],
        data["in_proxy_cams"],
        hard_negatives=params["hard_negatives"],
        temp=params["temperature"],
    )
    loss.backward()
    close(loss, data["out_loss"].squeeze(), rtol=1e-5, atol=1e-5)
    close(inputs.grad, data["out_grad"], rtol=1e-5, atol=1e-5)


@checks("camera", "PPLR part-guided label refinement")
def check_refined_labels(case: Case) -> None:
    data = tensors(case)
    logits, parts = data["in_global_logits"].requires_grad_(), data["in_part_logits"].requires_grad_()
    loss = refined_label_loss(logits, parts, data["in_labels"], data["in_agreement"], beta=case.params["beta"])
    loss.backward()
    assert parts.grad is None
    close(loss, data["out_loss"], rtol=1e-5, atol=1e-6)
    close(logits.grad, data["out_grad_global"], rtol=1e-5, atol=1e-6)


@checks("camera", "PPLR agreement-aware label smoothing")
def check_agreement_smoothing(case: Case) -> None:
    data = tensors(case)
    logits = data["in_logits"].requires_grad_()
    loss = agreement_smoothed_loss(logits, data["in_labels"], data["in_agreement"])
    loss.backward()
    close(loss, data["out_loss"], rtol=1e-5, atol=1e-6)
    close(logits.grad, data["out_grad"], rtol=1e-5, atol=1e-6)
