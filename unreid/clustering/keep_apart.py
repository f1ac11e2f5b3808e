"""Cannot-links for any clusterer: of two members of a cluster that cannot be one person, the outer one leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering.base import Clusterer
from unreid.clustering.corrected import CorrectedClusterer
from unreid.constraints.links import Links, partners
from unreid.structures import Clustering
from unreid.utils.errors import UserError
from unreid.utils.means import segment_means


class KeepApart(CorrectedClusterer):
    """Another clusterer's labels, with no pair of ``links`` in one cluster; see :func:`keep_apart`.

    ``extras`` of the clustering: ``kept_apart``, how many members became outliers.
    """

    links: Links

    def __init__(self, clusterer: Clusterer, links: Links) -> None:
        super().__init__(clusterer)
        self.links = links

    def correct(self, clustering: Clustering, features: Tensor) -> Clustering:
        return keep_apart(clustering, features, self.links)


def keep_apart(clustering: Clustering, features: Tensor, links: Links) -> Clustering:
    """The clustering with members at -1 until no cluster holds a pair of ``links``.

    The members of a cluster are visited by descending cosine similarity to its mean; one that is linked (in either
    direction) with a member already kept becomes an outlier. So every cluster keeps its innermost member.

    Args:
        features: float (N, D).
        links: among N samples.

    Raises:
        UserError: links of another number of samples.
    """
    check_links(links, len(clustering.labels))
    labels = clustering.labels.numpy().copy()
    rows, columns = links.rows(), links.index
    inside = (labels[rows] == labels[columns]) & (labels[rows] >= 0) & (rows != columns)
    linked = partners(rows[inside], columns[inside])
    leaving: set[int] = set()
    for sample in _innermost_first(clustering, features, sorted(linked)):
        if sample not in leaving:
            leaving |= linked[sample]
    labels[sorted(leaving)] = -1
    extras = {**clustering.extras, "kept_apart": len(leaving)}
    return replace(clustering, labels=torch.from_numpy(labels), extras=extras)


def check_links(links: Links, count: int) -> None:
    """Raises :class:`UserError` unless the links are of ``count`` samples."""
    if links.height != count:
        raise UserError(f"The cannot-links are of {links.height} samples, the training list has {count}.")


def _innermost_first(clustering: Clustering, features: Tensor, samples: list[int]) -> list[int]:
    if not samples:
        return []
    rows = normalize(features.float(), dim=1)
    means, _ = segment_means(rows, clustering.labels, clustering.num_clusters)
    index = torch.tensor(samples)
    own = means[clustering.labels[index].to(rows.device)]
    similarity = (rows[index.to(rows.device)] * normalize(own, dim=1)).sum(1).cpu().numpy()
    return np.asarray(samples)[np.argsort(-similarity, kind="stable")].tolist()
