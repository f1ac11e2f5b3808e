"""How a config composes clusterers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unreid.clustering.base import CLUSTERERS, Clusterer
from unreid.clustering.constrained_dbscan import ConstrainedDBSCAN
from unreid.clustering.corrected import CorrectedClusterer
from unreid.clustering.dbscan import DBSCAN
from unreid.clustering.keep_apart import KeepApart
from unreid.clustering.scheduled import ScheduledClusterer
from unreid.clustering.size_filter import SizeFilter
from unreid.clustering.sklearn_adapter import SklearnClusterer
from unreid.constraints.links import Links
from unreid.utils.errors import UserError
from unreid.utils.estimators import PREFIX


def build_clusterer(cfg: Any) -> Clusterer:
    """``CLUSTER.NAME``, after ``CLUSTER.WARMUP.NAME`` for the first ``CLUSTER.WARMUP.ROUNDS`` rounds.

    ``CLUSTER.ICDBSCAN_OPTION`` turns DBSCAN into its constrained form, which has more options than others with links.
    ``CLUSTER.MIN_SIZE`` filters the main clusterer only (3C keeps small DBSCAN clusters during its warm-up).
    """
    main = _named(cfg.CLUSTER.NAME, cfg)
    if cfg.CLUSTER.MIN_SIZE > 1:
        main = SizeFilter(main, cfg.CLUSTER.MIN_SIZE)
    warmup = cfg.CLUSTER.WARMUP
    if not warmup.NAME or warmup.ROUNDS == 0:
        return main
    return ScheduledClusterer([(0, _named(warmup.NAME, cfg)), (warmup.ROUNDS, main)])


def _named(name: str, cfg: Any) -> Clusterer:
    if name.startswith(PREFIX):
        return SklearnClusterer.named(name, cfg)
    kind = CLUSTERERS.get(name)
    if cfg.CLUSTER.ICDBSCAN_OPTION and kind is DBSCAN:
        kind = ConstrainedDBSCAN
    if cfg.CLUSTER.ICDBSCAN_OPTION and cfg.CLUSTER.ICDBSCAN_MODE == "ordered" and kind is not ConstrainedDBSCAN:
        raise UserError(f"CLUSTER.ICDBSCAN_MODE ordered is DBSCAN's; with CLUSTER.NAME {name} set it to clean.")
    return kind.from_config(cfg)


def inner_clusterers(clusterer: Clusterer | None) -> Iterator[Clusterer]:
    """The clusterers that do the work inside one that a config composed."""
    if isinstance(clusterer, CorrectedClusterer):
        yield from inner_clusterers(clusterer.clusterer)
    elif isinstance(clusterer, ScheduledClusterer):
        for _, stage in clusterer.stages:
            yield from inner_clusterers(stage)
    elif clusterer is not None:
        yield clusterer


def constrain(clusterer: Clusterer, links: Links) -> Clusterer:
    """The clusterer with cannot-links that no cluster of it may hold: itself where it takes them, else around it."""
    if isinstance(clusterer, SizeFilter):
        clusterer.clusterer = constrain(clusterer.clusterer, links)
    elif isinstance(clusterer, ScheduledClusterer):
        clusterer.stages = [(start, constrain(stage, links)) for start, stage in clusterer.stages]
    elif clusterer.takes_links:
        clusterer.links = links
    else:
        return KeepApart(clusterer, links)
    return clusterer
