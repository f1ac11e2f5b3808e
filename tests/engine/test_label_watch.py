"""What a run says about labels that mislead it, and that it is silent about labels that do not."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.methods.toys import DIM, toy_method
from unreid.engine.hooks import LabelWatchHook
from unreid.engine.hooks.label_watch import sampled_score
from unreid.evaluation import label_free_score
from unreid.structures import Clustering
from unreid.utils.events import EventStorage
from unreid.utils.state import StateError

PEOPLE, EACH = 40, 10
N = PEOPLE * EACH
CAMIDS = torch.arange(N) % 2
SMALL = ("CLUSTER.K1", 10, "CLUSTER.K2", 2)
TIGHT = ("CLUSTER.K1", 30, "CLUSTER.EPS", 0.1)


def people(camera: float, noise: float = 0.04) -> Tensor:
    """Unit features of 40 people in two cameras, whose shift is ``camera``."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(PEOPLE, DIM, generator=generator)[torch.arange(N) // EACH]
    shift = camera * F.one_hot(CAMIDS, DIM).float()
    return F.normalize(own + shift + noise * torch.randn(N, DIM, generator=generator), dim=1)


def watch(*overrides: Any, camids: Tensor = CAMIDS) -> LabelWatchHook:
    hook = LabelWatchHook(camids)
    method = toy_method(*SMALL, *overrides, camids=CAMIDS)
    state = SimpleNamespace(round=0)
    hook.trainer = SimpleNamespace(state=state, method=method, storage=EventStorage())  # type: ignore[assignment]
    return hook


def label(hook: LabelWatchHook, features: Tensor) -> Clustering:
    clustering = hook.trainer.method.cluster(features, hook.trainer.state.round)
    hook.after_label(clustering, None)  # type: ignore[arg-type]
    hook.trainer.state.round += 1
    return clustering


def test_clusters_of_one_camera_are_warned_of_with_figures(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch()
    clustering = label(hook, people(camera=3.0))
    assert clustering.num_clusters >= 60
    (line,) = caplog.messages
    assert "100% of" in line and "hold images of one camera, where the cameras' sizes would give 5% by chance" in line
    assert "Set CLUSTER.CAMERA_CENTERED True or CLUSTER.METRIC ca_jaccard" in line
    assert hook.trainer.storage.noted("cluster/one_camera") == 1.0
    sizes = torch.bincount(clustering.labels).double()
    expected = float((2 * 0.5**sizes).mean())
    assert hook.trainer.storage.noted("cluster/one_camera_chance") == pytest.approx(expected)


def test_the_way_out_silences_the_warning(caplog: pytest.LogCaptureFixture) -> None:
    label(watch("CLUSTER.CAMERA_CENTERED", True), people(camera=3.0))
    label(watch(), people(camera=0.0))
    label(watch(camids=torch.zeros(N, dtype=torch.int64)), people(camera=3.0))  # no cameras, no opinion
    assert not caplog.messages


def test_a_partition_that_grows_bottom_up_is_left_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch()
    clustering = hook.trainer.method.cluster(people(camera=3.0), 0)
    hook.trainer.method.clusterer = None
    hook.after_label(clustering, None)  # type: ignore[arg-type]
    assert not caplog.messages and hook.trainer.storage.noted("cluster/one_camera") == 1.0


def test_the_advice_leaves_out_what_is_on_already() -> None:
    one = watch("CLUSTER.CAMERA_CENTERED", True)
    assert one._camera_advice().startswith("Set CLUSTER.METRIC ca_jaccard, or")
    both = watch("CLUSTER.CAMERA_CENTERED", True, "CLUSTER.METRIC", "ca_jaccard")
    assert "METHOD.NAME O2CAP" in both._camera_advice()


def test_a_falling_score_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch()
    for noise in (0.02, 0.02, 0.08, 0.14, 0.2):
        label(hook, people(camera=0.0, noise=noise))
    assert hook.scores[0] == 0.0 and hook.scores[1] > 0.8
    falling = [line for line in caplog.messages if "label-free score has fallen" in line]
    assert len(falling) == 1 and "round 4" in falling[0] and f"from {hook.scores[1]:.3f}" in falling[0]


def test_a_steady_score_is_not(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch()
    for noise in (0.06, 0.06, 0.05, 0.05, 0.06, 0.05):
        label(hook, people(camera=0.0, noise=noise))
    assert not caplog.messages


def test_the_score_of_the_selection_is_not_computed_twice() -> None:
    hook = watch()
    hook.trainer.storage.put_scalar("select/label_free", 0.25)
    label(hook, people(camera=0.0))
    assert hook.scores == [0.25]


def test_most_samples_left_out_are_explained_with_a_value_that_takes_them_in(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch(*TIGHT)
    features = people(camera=0.0, noise=0.2)
    clustering = label(hook, features)
    assert clustering.num_outliers > 0.75 * N
    (line,) = caplog.messages
    assert f"{clustering.num_outliers} of 400 samples" in line
    assert "distance to the 4th neighbour" in line and "CLUSTER.EPS 0.1 reaches it for" in line
    key, value = line.partition("Set ")[2].split(" (")[0].split()
    better = watch(*TIGHT, key, float(value))
    assert label(better, features).num_outliers < N / 2


def test_the_explanation_is_given_three_times(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch(*TIGHT)
    for _ in range(5):
        label(hook, people(camera=0.0, noise=0.2))
    assert sum("are outliers" in line for line in caplog.messages) == 3


def test_features_that_tell_nothing_apart_have_no_radius(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch("CLUSTER.EPS", 0.1, "CLUSTER.K1", 4)
    noise = F.normalize(torch.randn(N, DIM, generator=torch.Generator().manual_seed(1)), dim=1)
    label(hook, noise)
    assert any("outliers" in line for line in caplog.messages)


def test_a_clusterer_without_a_radius_gets_general_advice(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch("CLUSTER.NAME", "KMeans", "CLUSTER.NUM_CLUSTERS", 20)
    labels = torch.full((N,), -1)
    labels[:20] = torch.arange(20) // 4
    hook.after_label(Clustering(labels, 5, features=people(0.0)), None)  # type: ignore[arg-type]
    assert "380 of 400 samples (95%) are outliers. Raise CLUSTER.EPS" in caplog.text


def test_an_adaptive_radius_is_switched_off_by_the_advice(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch("CLUSTER.ADAPTIVE", True, "CLUSTER.RHO", 1e-3, "CLUSTER.K1", 30)
    label(hook, people(camera=0.0, noise=0.3))
    assert "Set CLUSTER.ADAPTIVE False with CLUSTER.EPS" in caplog.text


def test_a_resumed_watch_goes_on_as_if_nothing_had_happened(caplog: pytest.LogCaptureFixture) -> None:
    straight, first = watch(), watch()
    worlds = [people(camera=0.0, noise=noise) for noise in (0.02, 0.02, 0.08, 0.14, 0.2)]
    for features in worlds[:3]:
        label(straight, features), label(first, features)
    second = watch()
    second.load_state_dict(first.state_dict())
    second.trainer.state.round = 3
    for features in worlds[3:]:
        label(straight, features), label(second, features)
    assert straight.scores == second.scores
    assert sum("has fallen" in line for line in caplog.messages) == 2
    with pytest.raises(StateError):
        watch().load_state_dict({"scores": [], "explained": 0, "labels": torch.zeros(3, dtype=torch.int64)})


def test_many_samples_are_scored_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = watch()
    features = people(camera=0.0, noise=0.08)
    labels = label(hook, features).labels
    whole = label_free_score(features, labels, labels)
    assert sampled_score(features, labels, labels) == whole
    monkeypatch.setattr("unreid.engine.hooks.label_watch.SCORED", N // 2)
    assert sampled_score(features, labels, labels) == pytest.approx(whole, abs=0.05)


def test_silence_in_the_warm_up(caplog: pytest.LogCaptureFixture) -> None:
    hook = watch()
    hook.trainer.state.round = -1
    with caplog.at_level(logging.WARNING):
        label(hook, people(camera=2.0))
    assert not caplog.messages and not hook.scores
