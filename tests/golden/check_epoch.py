"""CDSM's whole clustering stage on recorded features: Jaccard graph, three labelings, reliabilities, first memory."""

from __future__ import annotations

import torch
from torch import Tensor

from unreid.clustering.agreement import AgreementDBSCAN
from unreid.clustering.dbscan import dbscan
from unreid.clustering.overlap import with_own_labels
from unreid.memory import DiversityMemory
from unreid.neighbors.jaccard import jaccard_graph

from .cases import Case, checks

ALMOST_ONE = 1 - 1e-6  # a graph stores distances below 1; pairs it leaves out have distance 1


@checks("cdsm", "epoch")
def check_clustering_stage(case: Case) -> None:
    params = case.params
    data = {name: torch.from_numpy(array) for name, array in case.arrays().items()}
    clusterer = AgreementDBSCAN(params["eps"], params["eps_gap"], params["min_samples"], tol=0.0)
    graph = jaccard_graph(data["features"], k1=params["k1"], k2=params["k2"], radius=ALMOST_ONE)
    torch.testing.assert_close(graph.to_dense(), data["jaccard"], rtol=0, atol=1e-5)

    for name, shift in (("labels_tight", -1), ("labels_loose", 1)):
        labels, _ = dbscan(graph, params["eps"] + shift * params["eps_gap"], params["min_samples"], 0.0)
        assert torch.equal(labels, data[name])
    small = jaccard_graph(data["features"], k1=params["k1"], k2=params["k2"], radius=clusterer.radius)
    clustering = clusterer.cluster(data["features"], small)
    assert torch.equal(clustering.labels, data["labels"]) and clustering.num_clusters == params["C"]
    assert clustering.core is not None and torch.equal(clustering.core.nonzero().flatten(), data["core_index"])
    check_reliabilities(clustering.labels, clustering.extras, data)

    memory = DiversityMemory(data["features"].shape[1], mode="v5", slots=params["S"])
    memory.reset(data["features"], clustering)
    torch.testing.assert_close(memory.bank, data["memory_init"], rtol=0, atol=1e-6)


def check_reliabilities(labels: Tensor, extras: dict[str, Tensor], data: dict[str, Tensor]) -> None:
    for name, recorded in (
        ("r_comp", "R_comp"),
        ("r_indep", "R_indep"),
        ("thr_comp", "cluster_R_comp"),
        ("thr_indep", "cluster_R_indep"),
    ):
        torch.testing.assert_close(extras[name], data[recorded], rtol=0, atol=1e-6)
    assert torch.equal(with_own_labels(labels), data["labels_full"])
    kept = (labels >= 0).nonzero().flatten()
    assert torch.equal(kept, data["kept_index"]) and torch.equal(labels[kept], data["kept_label"])
