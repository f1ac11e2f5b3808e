"""What happens when a clustering is poor: go on with the previous labels, and stop after too many such rounds."""

from __future__ import annotations

import logging
from typing import Any

import torch

from unreid.structures import Clustering
from unreid.utils.errors import UserError
from unreid.utils.state import entries

logger = logging.getLogger(__name__)


class RoundGuard:
    """Replaces a clustering that cannot be trained on (fewer than two clusters) by the last one that could.

    Args:
        max_empty_rounds: so many poor rounds in a row raise :class:`UserError`.
    """

    def __init__(self, max_empty_rounds: int) -> None:
        self.max_empty_rounds = max_empty_rounds
        self.empty_rounds = 0
        self.previous: Clustering | None = None

    def check(self, clustering: Clustering, round: int) -> Clustering:
        """``clustering`` itself, or the previous labels (instance labels in the first round) on its features."""
        if clustering.num_clusters >= 2:
            self.empty_rounds = 0
            self.previous = Clustering(clustering.labels, clustering.num_clusters)
            return clustering
        self.empty_rounds += 1
        found = "no cluster" if clustering.num_clusters == 0 else "one single cluster"
        advice = (
            "raise CLUSTER.EPS or lower CLUSTER.MIN_SAMPLES"
            if clustering.num_clusters == 0
            else "lower CLUSTER.EPS or CLUSTER.K1"
        )
        if self.empty_rounds >= self.max_empty_rounds:
            raise UserError(
                f"Clustering found {found} in {self.empty_rounds} rounds in a row (CLUSTER.MAX_EMPTY_ROUNDS); {advice}."
            )
        logger.warning(
            "round %d: %s among %d samples (%d outliers); training goes on with %s. If this repeats, %s.",
            round,
            found,
            len(clustering.labels),
            clustering.num_outliers,
            "the previous labels" if self.previous is not None else "every image as its own class",
            advice,
        )
        labels = self.previous or Clustering(torch.arange(len(clustering.labels)), len(clustering.labels))
        return Clustering(
            labels.labels,
            labels.num_clusters,
            features=clustering.features,
            part_features=clustering.part_features,
        )

    def state_dict(self) -> dict[str, Any]:
        previous = None if self.previous is None else self.previous.labels
        return {"empty_rounds": self.empty_rounds, "previous": previous}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        entries(state, "the state of the round guard", {"empty_rounds": int, "previous": (torch.Tensor, type(None))})
        self.empty_rounds = state["empty_rounds"]
        previous = state["previous"]
        self.previous = None if previous is None else Clustering.from_labels(previous)
