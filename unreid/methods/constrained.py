"""A clusterer that keeps what is known about pairs of training samples."""

from __future__ import annotations

import logging

from unreid.clustering import Clusterer, FollowAnswers, constrain, inner_clusterers
from unreid.constraints import TrainConstraints
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


def constrained(clusterer: Clusterer, constraints: TrainConstraints) -> Clusterer:
    """The clusterer with cannot-links and a person's answers in force.

    Raises:
        UserError: there are changes of distances, and it reads none.
    """
    if constraints.modifiers:
        names = [type(part).__name__ for part in inner_clusterers(clusterer) if part.radius is None]
        if names and clusterer.radius is None:
            raise UserError(
                "CLUSTER.CCE_OPTION and STR_OPTION change distances of the pair graph, which is not what "
                f"{names[0]} clusters by: use CLUSTER.NAME DBSCAN."
            )
        if names:
            logger.warning("SCP and STS are felt in the rounds that cluster a graph, not in those of %s", names[0])
    answers = constraints.answers
    if constraints.links is not None:
        clusterer = constrain(clusterer, constraints.links)
        answers = None if answers is None else answers.with_links(constraints.links)
    return clusterer if answers is None else FollowAnswers(clusterer, answers)
