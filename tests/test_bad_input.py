"""Every public name that takes arrays refuses bad ones in one sentence that says what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import unreid
from unreid.utils.errors import InputError, UserError

N, D = 12, 6
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
LABELS = np.arange(N) // 3
CAMIDS = np.arange(N) % 3


@dataclass(frozen=True)
class Call:
    """A public function with good arguments.

    Attributes:
        call: takes the arguments by name.
        rows: its arguments (N, D); ``integers``: those (N,); ``ids``: those that may be strings, too.
        values: whether it looks at the values of its rows: losses and memories do not, for a GPU's sake.
    """

    call: Callable[..., Any]
    rows: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    values: bool = True

    def good(self) -> dict[str, Any]:
        known = dict.fromkeys(self.rows, X) | dict.fromkeys(self.integers, LABELS)
        return known | {name: LABELS if name.endswith("pids") else CAMIDS for name in self.ids}


def fit(name: str, *args: Any, **known: Any) -> Call:
    def call(X: Any, camids: Any) -> Any:
        return getattr(unreid, name)(*args, **known).fit_predict(X, camids)

    return Call(call, rows=("X",), ids=("camids",))


def sampler(name: str) -> Call:
    if name == "NoCameraSampler":
        return Call(lambda labels: unreid.NoCameraSampler(labels, num_instances=2), integers=("labels",))
    return Call(lambda labels, camids: getattr(unreid, name)(labels, camids, 2), integers=("labels", "camids"))


def memory(name: str) -> Call:
    def call(features: Any, labels: Any) -> Any:
        getattr(unreid, name)(D).reset(features, labels, camids=CAMIDS)

    return Call(call, rows=("features",), integers=("labels",), values=False)


CALLS: dict[str, Call] = {
    "DBSCAN": fit("DBSCAN", k1=5, k2=2),
    "AgreementDBSCAN": fit("AgreementDBSCAN", k1=5, k2=2),
    "SelfPacedDBSCAN": fit("SelfPacedDBSCAN", k1=5, k2=2),
    "ConstrainedDBSCAN": fit("ConstrainedDBSCAN", links=[(0, 5)], k1=5, k2=2),
    "BottomUp": fit("BottomUp", 3),
    "HDC": fit("HDC", 3, k1=5, k2=2),
    "KMeans": fit("KMeans", 3),
    "Infomap": fit("Infomap"),
    "SklearnClusterer": fit("SklearnClusterer", "KMeans", {"n_clusters": 3}),
    "jaccard_graph": Call(lambda features: unreid.jaccard_graph(features, k1=5, k2=2), rows=("features",)),
    "jaccard_distance": Call(lambda features: unreid.jaccard_distance(features, k1=5, k2=2), rows=("features",)),
    "camera_jaccard_graph": Call(
        lambda features, camids: unreid.camera_jaccard_graph(features, camids, k1_intra=2, k1_inter=3),
        rows=("features",),
        integers=("camids",),
    ),
    "camera_centered": Call(
        lambda **given: unreid.camera_centered(**given), rows=("features",), ids=("camids",), values=False
    ),
    "knn": Call(lambda features: unreid.knn(features, 3), rows=("features",)),
    "pairwise_distance": Call(lambda **given: unreid.pairwise_distance(**given), rows=("x", "y"), values=False),
    "rerank_features": Call(
        lambda **given: unreid.rerank_features(**given, k1=3, k2=2), rows=("query", "gallery"), values=False
    ),
    "cmc_map": Call(lambda **given: unreid.cmc_map(X @ X.T, **given), ids=("q_pids", "g_pids", "q_camids", "g_camids")),
    "cluster_report": Call(
        lambda **given: unreid.cluster_report(**given), integers=("labels",), ids=("pids", "camids")
    ),
    "camera_entropy_weights": Call(
        lambda **given: unreid.camera_entropy_weights(**given), integers=("targets", "camids")
    ),
    "smoothed_cross_entropy": Call(
        lambda **given: unreid.smoothed_cross_entropy(**given), rows=("logits",), integers=("targets",), values=False
    ),
    "soft_entropy": Call(lambda **given: unreid.soft_entropy(**given), rows=("student", "teacher"), values=False),
    "label_preserving_loss": Call(
        lambda **given: unreid.label_preserving_loss(**given),
        rows=("features", "supports"),
        integers=("targets", "support_targets"),
        values=False,
    ),
    "support_samples": Call(
        lambda **given: unreid.support_samples(**given, degree=0.5),
        rows=("features", "rows"),
        integers=("targets",),
        values=False,
    ),
    **{name: memory(name) for name in ("ClusterMemory", "DiversityMemory", "HybridMemory", "ProxyMemory")},
    **{
        name: sampler(name)
        for name in ("IdentitySampler", "MultiCameraSampler", "NoCameraSampler", "ProxySampler", "ShuffleSampler")
    },
    "Clustering": Call(lambda labels: unreid.Clustering.from_labels(labels), integers=("labels",)),
}

TAKE_NO_ARRAYS = {
    *("BACKBONES", "CLUSTERERS", "DATASETS", "LOSSES", "MEMORIES", "METHODS", "PARTS", "SAMPLERS"),  # tables of names
    *("train", "evaluate", "load_config", "Trainer"),  # a config
    *("EmbeddingModel", "MeanTeacher"),  # networks
    "FeatureExtractor",  # images: tests/evaluation/test_feature_extractor.py
    "PairGraph",  # scipy's matrices: tests/clustering/test_fit_predict.py
    "Links",  # pairs: tests/constraints
    "ExclusiveTable",  # begins at zero and reads labels in its loss only: tests/test_library.py
}

BAD_ROWS = {
    "a vector": X[0],
    "a volume": X[None],
    "strings": np.full((N, D), "a"),
    "objects": np.full((N, D), None),
    "truth values": X > 0,
    "complex numbers": X.astype(complex),
    "a sparse tensor": torch.from_numpy(X).to_sparse(),
    "ragged rows": [[1.0, 2.0], [1.0]],
    "nothing": [],
    "None": None,
}
BAD_VALUES = {"NaN": np.where(np.eye(N, D) > 0, np.nan, X), "infinity": np.where(np.eye(N, D) > 0, np.inf, X)}
BAD_INTEGERS = {
    "a table": LABELS[:, None],
    "fractions": LABELS + 0.5,
    "NaN": np.where(LABELS > 1, np.nan, LABELS),
    "truth values": LABELS > 0,
    "objects": np.full(N, None),
    "another length": np.append(LABELS, 0),
    "a number": 3,
}


def cases() -> Iterator[Any]:
    for name, call in CALLS.items():
        values = BAD_VALUES if call.values else {}
        for argument in call.rows:
            for what, bad in {**BAD_ROWS, **values}.items():
                if (name, argument, what) != ("pairwise_distance", "y", "None"):  # None: x again
                    yield pytest.param(name, argument, bad, id=f"{name}-{argument}-{what}")
        for argument in (*call.integers, *call.ids):
            for what, bad in BAD_INTEGERS.items():
                if what != "another length" or len(call.good()) > 1:
                    yield pytest.param(name, argument, bad, id=f"{name}-{argument}-{what}")
        for argument in call.integers:
            yield pytest.param(name, argument, ["a"] * N, id=f"{name}-{argument}-strings")


@pytest.mark.parametrize("name", CALLS)
def test_good_arguments_are_taken_as_arrays_tensors_and_lists(name: str) -> None:
    call = CALLS[name]
    if name == "Infomap":
        pytest.importorskip("infomap")
    call.call(**call.good())
    call.call(**{argument: value.tolist() for argument, value in call.good().items()})
    call.call(**{argument: torch.from_numpy(value) for argument, value in call.good().items()})


@pytest.mark.parametrize(("name", "argument", "bad"), cases())
def test_a_bad_argument_is_named_in_one_sentence(name: str, argument: str, bad: Any) -> None:
    call = CALLS[name]
    with pytest.raises((InputError, UserError)) as raised:
        call.call(**{**call.good(), argument: bad})
    message = str(raised.value)
    assert "\n" not in message and message.endswith((".", "?")) and len(message) < 250, message
    assert any(word in message for word in ("must be", "must have", "for each of", "are", "is")), message


def test_every_public_name_is_tried() -> None:
    assert set(CALLS) | TAKE_NO_ARRAYS == set(unreid.__all__)
