"""What every clusterer promises, the registry that configs name them by, and how a config composes them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unreid.structures import Clustering, PairGraph
from unreid.utils.registry import Registry

CLUSTERERS: Registry[type[Clusterer]] = Registry("clusterer")


class Clusterer:
    """Labels N samples, from their features, from a pair graph, or from both.

    A clusterer is pure given its state: it knows no dataset and no model. Most have no state; those with history (an
    eps fixed in the first round, a threshold fixed in the first epoch) put it into ``state_dict``.
    """

    @property
    def radius(self) -> float | None:
        """How far the pair graph must reach; None: no graph is read."""
        return None

    def at(self, round: int) -> Clusterer:
        """The clusterer that works in a round: itself, unless it switches between others."""
        return self

    def cluster(
        self,
        features: Tensor,
        graph: PairGraph | None,
        *,
        round: int = 0,
        seed: int = 0,
        camids: Tensor | None = None,
    ) -> Clustering:
        """Pseudo labels of a round.

        Args:
            features: float32 (N, D).
            graph: pairs up to at least :attr:`radius`, or None where that is None.
            round, seed: seed what is random; the same pair gives the same labels.
            camids: int64 (N,), for clusterers that know cameras.
        """
        raise NotImplementedError

    @classmethod
    def from_config(cls, cfg: Any) -> Clusterer:
        """The clusterer that ``cfg.CLUSTER`` describes."""
        return cls()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def build_clusterer(cfg: Any) -> Clusterer:
    """``CLUSTER.NAME``, after ``CLUSTER.WARMUP.NAME`` for the first ``CLUSTER.WARMUP.ROUNDS`` rounds.

    ``CLUSTER.ICDBSCAN_OPTION`` turns a main clusterer DBSCAN into its constrained form.
    ``CLUSTER.MIN_SIZE`` filters the main clusterer only (3C keeps small DBSCAN clusters during its warm-up).
    """
    from unreid.clustering.scheduled import ScheduledClusterer
    from unreid.clustering.size_filter import SizeFilter

    name = cfg.CLUSTER.NAME
    if cfg.CLUSTER.ICDBSCAN_OPTION and name == "DBSCAN":
        name = "ConstrainedDBSCAN"
    main = CLUSTERERS.get(name).from_config(cfg)
    if cfg.CLUSTER.MIN_SIZE > 1:
        main = SizeFilter(main, cfg.CLUSTER.MIN_SIZE)
    warmup = cfg.CLUSTER.WARMUP
    if not warmup.NAME or warmup.ROUNDS == 0:
        return main
    return ScheduledClusterer([(0, CLUSTERERS.get(warmup.NAME).from_config(cfg)), (warmup.ROUNDS, main)])
