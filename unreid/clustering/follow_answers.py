"""A person's answers for any clusterer: its labels are corrected until every must-link and cannot-link holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering.base import Clusterer
from unreid.clustering.corrected import CorrectedClusterer
from unreid.constraints.answers import Answers
from unreid.constraints.links import partners
from unreid.structures import Clustering
from unreid.utils.errors import UserError
from unreid.utils.means import segment_means


class FollowAnswers(CorrectedClusterer):
    """Another clusterer's labels, with a person's answers in force; see :func:`follow_answers`.

    ``extras`` of the clustering: ``answered``, how many samples changed their cluster for it.
    """

    def __init__(self, clusterer: Clusterer, answers: Answers) -> None:
        super().__init__(clusterer)
        self.answers = answers

    def correct(self, clustering: Clustering, features: Tensor) -> Clustering:
        return follow_answers(clustering, features, self.answers)


def follow_answers(clustering: Clustering, features: Tensor, answers: Answers) -> Clustering:
    """The clustering with all answers in force.

    1. Samples marked as noise become outliers.
    2. Clusters that a must-link between clusters touches are joined.
    3. All samples that must-links join go to the cluster of those among them that stand for a cluster, or else of most
       of them; outliers alone found a new one.
    4. A cluster that holds a cannot-link is divided: its samples that stand for clusters and must not be together draw
       the other members, each to the most similar one (cosine); a group of samples that merely must not be with the
       rest leaves alone.

    Args:
        features: float (N, D).
        answers: about the same samples, without contradictions.

    Raises:
        UserError: answers about another number of samples.
    """
    if answers.count != len(clustering.labels):
        raise UserError(
            f"The answers are about {answers.count} samples, the training list has {len(clustering.labels)}."
        )
    before = clustering.labels.numpy()
    labels = before.copy()
    labels[answers.noise] = -1
    labels = _join_clusters(labels, answers.same[answers.same_whole])
    group = answers.groups()
    leads = np.zeros(answers.count, dtype=bool)
    leads[answers.same[answers.same_whole].ravel()] = True
    leads[answers.apart[answers.apart_whole].ravel()] = True
    labels = _gather_groups(labels, group, leads)
    labels = _divide(labels, features, answers.apart, group, leads)
    labels[answers.noise] = -1
    if np.array_equal(labels, before):
        return clustering
    found = Clustering.from_labels(torch.from_numpy(labels))
    core = clustering.core
    if core is not None:  # what a person has placed is no border point
        core = core.clone()
        core[torch.from_numpy(np.unique(answers.same))] = True
    answered = int((_mates(labels) != _mates(before)).sum())
    return replace(
        clustering,
        labels=found.labels,
        num_clusters=found.num_clusters,
        centroids=None,
        core=core,
        extras={**clustering.extras, "answered": answered},
    )


def _mates(labels: np.ndarray) -> np.ndarray:
    """int64 (N,): the first member of the cluster of every sample, -1 for outliers; free of numbering."""
    first = np.full(labels.max(initial=-1) + 2, -1)
    order = np.arange(len(labels))[::-1]
    first[labels[order]] = order
    first[-1] = -1
    return first[labels]


def _join_clusters(labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Joins the clusters of the two ends of every pair (L, 2); an outlier counts as a cluster of its own."""
    if not len(pairs):
        return labels
    count, clusters = len(labels), labels.max(initial=-1) + 1
    node = np.where(labels >= 0, labels, clusters + np.arange(count))
    ends = (np.ones(len(pairs), dtype=bool), (node[pairs[:, 0]], node[pairs[:, 1]]))
    size = clusters + count
    _, number = connected_components(coo_array(ends, shape=(size, size)), directed=False)
    joined = number[node]
    touched = np.unique(pairs)
    outlier = labels < 0
    outlier[touched] = False
    return np.where(outlier, -1, joined)


def _gather_groups(labels: np.ndarray, group: np.ndarray, leads: np.ndarray) -> np.ndarray:
    """Brings the samples of every must-link group into one cluster."""
    labels = labels.copy()
    fresh = labels.max(initial=-1) + 1
    for members in _several(group):
        leaders = members[leads[members] & (labels[members] >= 0)]
        voters = leaders if len(leaders) else members[labels[members] >= 0]
        if len(voters):
            values, votes = np.unique(labels[voters], return_counts=True)
            labels[members] = values[votes.argmax()]
        else:
            labels[members] = fresh
            fresh += 1
    return labels


def _several(group: np.ndarray) -> list[np.ndarray]:
    """Positions of the samples of every group with more than one."""
    sizes = np.bincount(group)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return [part for part in parts if len(part) > 1]


def _divide(
    labels: np.ndarray, features: Tensor, apart: np.ndarray, group: np.ndarray, leads: np.ndarray
) -> np.ndarray:
    """Divides every cluster that holds both ends of a cannot-link."""
    one, other = group[apart[:, 0]], group[apart[:, 1]]
    inside = (labels[apart[:, 0]] == labels[apart[:, 1]]) & (labels[apart[:, 0]] >= 0) & (one != other)
    if not inside.any():
        return labels
    labels = labels.copy()
    rows = normalize(features.float(), dim=1).cpu()
    means, _ = segment_means(rows, torch.from_numpy(labels), int(labels.max()) + 1)
    enemies = partners(one[inside], other[inside])
    home = labels[apart[inside].ravel()]
    hostile = group[apart[inside].ravel()]
    fresh = int(labels.max()) + 1
    for label in np.unique(home).tolist():
        members = np.flatnonzero(labels == label)
        parties = _parties(members, np.unique(hostile[home == label]), group, leads, enemies, rows, means[label])
        fresh = _settle(labels, members, parties, group, leads, rows, fresh)
    return labels


def _parties(
    members: np.ndarray,
    hostile: np.ndarray,
    group: np.ndarray,
    leads: np.ndarray,
    enemies: dict[int, set[int]],
    rows: Tensor,
    mean: Tensor,
) -> list[set[int]]:
    """Sets of groups that may stay together; those that stand for clusters choose first, then the innermost."""
    inner = (rows[torch.from_numpy(members)] @ normalize(mean, dim=0)).numpy()
    rank: dict[int, tuple[bool, float]] = {}
    wanted = set(hostile.tolist())
    for number, leading, similarity in zip(group[members].tolist(), leads[members].tolist(), inner.tolist()):
        if number in wanted:
            before = rank.get(number, (True, 0.0))
            rank[number] = (before[0] and not leading, min(before[1], -similarity))
    parties: list[set[int]] = []
    for number in sorted(rank, key=lambda key: (*rank[key], key)):
        home = next((party for party in parties if party.isdisjoint(enemies[number])), None)
        if home is None:
            parties.append({number})
        else:
            home.add(number)
    return parties


def _settle(
    labels: np.ndarray,
    members: np.ndarray,
    parties: list[set[int]],
    group: np.ndarray,
    leads: np.ndarray,
    rows: Tensor,
    fresh: int,
) -> int:
    """Writes the new labels of a divided cluster; the first party keeps the old one. Returns the next free label."""
    party = np.full(len(members), -1)
    for number, groups in enumerate(parties):
        party[np.isin(group[members], list(groups))] = number
    drawing = (party >= 0) & leads[members]
    free = party < 0
    if drawing.any() and free.any():
        similarity = rows[torch.from_numpy(members[free])] @ rows[torch.from_numpy(members[drawing])].T
        nearest = party[drawing][similarity.argmax(dim=1).numpy()]
        # Samples of one group stay together: they follow its first member.
        _, first, inverse = np.unique(group[members][free], return_index=True, return_inverse=True)
        party[free] = nearest[first][inverse]
    party[party < 0] = 0
    for number in range(1, len(parties)):
        own = members[party == number]
        if len(own) > 1:
            labels[own] = fresh
            fresh += 1
        else:
            labels[own] = -1
    return fresh
