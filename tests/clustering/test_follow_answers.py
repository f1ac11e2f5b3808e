"""After a person's answers: every must-link and cannot-link holds, whatever the clusterer found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unreid.clustering import DBSCAN, FollowAnswers, KMeans, SelfPacedDBSCAN, follow_answers
from unreid.constraints import Answers, Links
from unreid.constraints.review_file import Decision, consistent
from unreid.structures import Clustering
from unreid.utils.errors import UserError

COUNT = 24
INDEX = st.integers(0, COUNT - 1)


def answers_from(decisions: list[Decision]) -> Answers:
    pairs = {
        verdict: np.array([(int(d.first), int(d.second)) for d in decisions if d.verdict == verdict], np.int64).reshape(
            -1, 2
        )
        for verdict in ("same", "different")
    }
    whole = {v: np.array([d.whole for d in decisions if d.verdict == v], dtype=bool) for v in ("same", "different")}
    noise = np.array(sorted({int(d.first) for d in decisions if d.verdict == "noise"}), dtype=np.int64)
    return Answers(COUNT, pairs["same"], pairs["different"], whole["same"], whole["different"], noise)


@settings(max_examples=150, deadline=None)
@given(
    labels=st.lists(st.integers(-1, 5), min_size=COUNT, max_size=COUNT),
    pairs=st.lists(st.tuples(INDEX, INDEX, st.sampled_from(("same", "different")), st.booleans()), max_size=20),
    noise=st.lists(INDEX, max_size=3),
)
def test_every_answer_holds(labels: list[int], pairs: list[tuple[int, int, str, bool]], noise: list[int]) -> None:
    given_ = [Decision(str(a), str(b), verdict, whole) for a, b, verdict, whole in pairs if a != b]
    kept, dropped = consistent([*given_, *(Decision(str(a), "", "noise", False) for a in noise)])
    assert len(kept) + len(dropped) == len(given_) + len(noise)
    answers = answers_from(kept)
    features = torch.randn(COUNT, 8, generator=torch.Generator().manual_seed(0))
    found = follow_answers(Clustering.from_labels(labels), features, answers).labels.numpy()
    for a, b in answers.same.tolist():
        assert found[a] == found[b] >= 0
    for a, b in answers.apart.tolist():
        assert found[a] != found[b] or found[a] == -1
    assert (found[answers.noise] == -1).all()
    assert set(found.tolist()) - {-1} == set(range(found.max() + 1))


def test_the_later_of_two_answers_counts() -> None:
    old, between, new = (
        Decision("a", "b", "same", True),
        Decision("b", "c", "same", True),
        Decision("a", "c", "different", True),
    )
    assert consistent([old, between, new]) == ([between, new], [old])


def test_a_cluster_of_two_identities_is_divided_between_those_that_stand_for_them() -> None:
    features = torch.cat((torch.randn(10, 8) * 0.1 + torch.eye(8)[0], torch.randn(10, 8) * 0.1 + torch.eye(8)[1]))
    answers = Answers(20, apart=np.array([[0, 10]]), apart_whole=np.array([True]))
    found = follow_answers(Clustering.from_labels([0] * 20), features, answers).labels
    assert len(found[:10].unique()) == len(found[10:].unique()) == 1 and found[0] != found[10]
    alone = Answers(20, apart=np.array([[0, 10]]), apart_whole=np.array([False]))
    assert (follow_answers(Clustering.from_labels([0] * 20), features, alone).labels == -1).sum() == 1


@pytest.mark.parametrize("clusterer", [DBSCAN(0.5, k1=6, k2=2), SelfPacedDBSCAN(0.5, k1=6, k2=2), KMeans(4)])
def test_any_clusterer_follows(clusterer: object) -> None:
    features = torch.randn(COUNT, 8, generator=torch.Generator().manual_seed(1))
    answers = Answers(COUNT, same=np.array([[0, 5]]), same_whole=np.array([True]), noise=np.array([7]))
    labels = FollowAnswers(clusterer, answers).fit_predict(features)
    assert labels[0] == labels[5] >= 0 and labels[7] == -1


def test_answers_weigh_more_than_mined_links_and_belong_to_their_samples() -> None:
    answers = Answers(4, same=np.array([[0, 1]]), same_whole=np.array([False]))
    both = answers.with_links(Links.symmetric([[0, 1], [2, 3]], 4))
    assert {tuple(pair) for pair in both.apart.tolist()} == {(2, 3), (3, 2)}
    with pytest.raises(UserError, match="about 4 samples"):
        follow_answers(Clustering.from_labels([0, 0]), torch.eye(2), answers)
