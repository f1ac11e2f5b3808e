"""What a method is: a way to label, a training step, and what happens after it.

A method is a composition of parts (clusterer, memory, losses) and holds no loop: the engine calls it.

::

    for each round:
        clustering = method.label(round, extract)     # pseudo labels
        plan = method.plan(clustering, round)         # what to train on, for how long
        for each step:
            output = method.step(batch, position)     # losses; the engine sums, differentiates, steps
            method.after_step(output.cache, position) # memory, EMA; skipped when the scaler skipped the step
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from unreid.constraints import Modifier, TrainConstraints, modify_graph
from unreid.methods.constrained import constrained
from unreid.methods.setup import Setup
from unreid.neighbors import camera_centered
from unreid.structures import Batch, Clustering, PairGraph, Position, RoundPlan, StepOutput
from unreid.utils.distributed import from_main, is_main
from unreid.utils.errors import UserError
from unreid.utils.registry import Registry

if TYPE_CHECKING:
    from unreid.config import CfgNode

METHODS: Registry[type[Method]] = Registry("method")

CLUSTER_FEATURES = {"raw": "pooled", "l2": "pooled_l2"}
"""What ``CLUSTER.FEATURE`` names; "method" is the method's own."""

Extract = Callable[[str], Tensor]
"""``extract(feature)`` returns float32 (N, D): that feature of every training sample, from the current encoder."""

Phase = Callable[[str], AbstractContextManager[Any]]
"""``phase(name)`` is a context manager that times a part of the round."""


class Method:
    """Base of all methods: the features -> graph -> clusterer pipeline, and the teacher's bookkeeping.

    Attributes:
        cluster_feature, retrieval_feature: "embedding", "pooled" or "pooled_l2" (see ``ModelOutput``).
        views: augmentations of one training sample, "strong" or "base".
        model: the bare student; ``student`` is what a step calls (the same, or its distributed wrapper).
        epochs: planned epochs of the run.
        labelling: what a round begins with, for people.
        ignored: config keys that this method has no use for; a config that sets them is refused.
    """

    cluster_feature = "embedding"
    retrieval_feature = "embedding"
    labelling = "clustering"
    ignored: tuple[str, ...] = ("METHOD.EXTRAS", "METHOD.LOSSES")

    def __init__(self, setup: Setup) -> None:
        self.model = setup.model
        self.student: Callable[..., Any] = setup.model
        self.teacher = setup.teacher
        self.camids = setup.camids
        self.epochs = setup.epochs
        self.iters = setup.iters
        self.clusterer = setup.clusterer
        self.graph_builder = setup.graph_builder
        self.iters_per_cluster = setup.iters_per_cluster
        self.camera_centered = setup.camera_centered
        self.reset_optimizer = setup.reset_optimizer
        self.seed = setup.seed
        self.modifiers: tuple[Modifier, ...] = ()
        self.views: tuple[str, ...] = ("strong",)
        self.phase: Phase = lambda name: nullcontext()
        if setup.cluster_feature != "method":
            self.cluster_feature = CLUSTER_FEATURES[setup.cluster_feature]

    @classmethod
    def from_config(cls, cfg: CfgNode, *, model: nn.Module, camids: Tensor) -> Method:
        """Builds the method and its parts. ``model`` is already on the run's device."""
        return cls(Setup.from_config(cfg, model=model, camids=camids))

    # ------------------------------------------------------------------------------------------ labelling

    @property
    def encoder(self) -> nn.Module:
        """The network that labels and is evaluated: the teacher where there is one."""
        return self.model if self.teacher is None else self.teacher.model

    @property
    def num_samples(self) -> int:
        return len(self.camids)

    def label(self, round: int, extract: Extract) -> Clustering:
        """Pseudo labels of a round: features -> pair graph -> clusterer; the same on every rank."""
        with self.phase("extract"):
            features = extract(self.cluster_feature)
        return self.cluster(features, round)

    def cluster(self, features: Tensor, round: int) -> Clustering:
        """Clusters float32 (N, D) features; the clustering keeps them, for the memory to be filled."""
        assert self.clusterer is not None
        given, features = features, self.centered(features)
        graph, radius = None, self.clusterer.at(round).radius
        if radius is not None:
            with self.phase("neighbors"):
                if is_main():
                    graph = self.build_graph(features, radius, round)
                elif self.graph_builder is not None:
                    self.graph_builder.assist(features, radius, camids=self.camids, round=round)

        def work() -> tuple[Clustering, dict[str, Any]]:
            assert self.clusterer is not None
            with self.phase("cluster"):
                found = self.clusterer.cluster(features, graph, round=round, seed=self.seed, camids=self.camids)
            return found.cpu(), self.clusterer.state_dict()

        clustering, state = from_main(work)
        if not is_main():
            self.clusterer.load_state_dict(state)
        clustering.features = given
        if self.camera_centered:
            clustering.centroids = None  # they lie among the centred features, and the memory among the given ones
        return clustering

    def centered(self, features: Tensor) -> Tensor:
        """The features that are clustered: those given, less their cameras' means where the config asks for it."""
        return camera_centered(features, self.camids) if self.camera_centered else features

    def build_graph(self, features: Tensor, radius: float, round: int = 1) -> PairGraph:
        """The pair graph of a round, on the main process.

        SCP and STS only raise distances, so the pairs up to ``radius`` are all there.
        """
        assert self.graph_builder is not None
        graph = self.graph_builder(features, radius, camids=self.camids, round=round)
        return modify_graph(graph, self.modifiers)

    def constrain(self, constraints: TrainConstraints) -> None:
        """Takes over what is known about pairs of training samples; called once, before training, if there is any.

        SCP and STS change the distances of the pair graph, so they are felt where one is clustered. TOC's cannot-links
        are kept by every clusterer, and so are a person's answers, which weigh more than mined links.

        Raises:
            UserError: the method clusters no graph.
        """
        if self.clusterer is None:
            raise UserError(
                "CLUSTER.CCE_OPTION, STR_OPTION, ICDBSCAN_OPTION and REVIEW change what is clustered, but "
                f"{type(self).__name__} labels by its own rule: switch them off."
            )
        self.modifiers = constraints.modifiers
        self.clusterer = constrained(self.clusterer, constraints)

    def take_source(self, labels: Tensor, extract: Extract) -> None:
        """Takes over the labelled source of domain adaptation; called once, before training, if there is one.

        Args:
            labels: int64 (S,), identities 0..C-1 over the source's list.
            extract: its features from the current encoder.

        Raises:
            UserError: the method learns without labels only.
        """
        raise UserError(
            f"{type(self).__name__} learns without any label and has no use for DATASETS.SOURCES: leave it empty, or "
            "set METHOD.NAME SpCL_UDA."
        )

    def plan(self, clustering: Clustering, round: int) -> RoundPlan:
        """Takes over a clustering (memory, classifier) and says how to train on it."""
        return RoundPlan(
            targets=clustering.labels,
            epochs=1,
            iters=self.iterations(clustering.num_clusters),
            optimizer="rebuild" if self.reset_optimizer else "keep",
        )

    def iterations(self, num_clusters: int) -> int:
        """Steps of an epoch; AuxUSL's dynamic iterations where the multiplier is positive (rounds half to even)."""
        if self.iters_per_cluster > 0:
            return max(1, round(self.iters_per_cluster * num_clusters))
        return self.iters

    # ------------------------------------------------------------------------------------------- training

    def train_mode(self) -> None:
        """Called at the start of every epoch."""
        self.model.train()
        if self.teacher is not None:
            self.teacher.train()

    def step(self, batch: Batch, at: Position) -> StepOutput:
        """Forward pass and losses of one batch."""
        raise NotImplementedError

    def after_step(self, cache: Any, at: Position) -> None:
        """Everything that follows the optimiser step; the base moves the teacher."""
        if self.teacher is not None:
            self.teacher.update(self.model, at.global_step)

    # ---------------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """All state but the student's weights: teacher, clusterer; subclasses add theirs."""
        state: dict[str, Any] = {}
        if self.teacher is not None:
            state["teacher"] = self.teacher.state_dict()
        if self.clusterer is not None:
            state["clusterer"] = self.clusterer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`; :class:`~unreid.utils.state.StateError` for what is none."""
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        if self.clusterer is not None:
            self.clusterer.load_state_dict(state["clusterer"])

    def check_plan(self, plan: RoundPlan) -> None:
        """Looks whether a restored method has what training on ``plan`` needs; nothing in the base.

        Raises:
            StateError: it lacks something, such as a memory's row for a label.
        """
