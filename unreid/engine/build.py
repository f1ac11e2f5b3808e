"""From a config to the objects of a run."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unreid.config import CfgNode
from unreid.config.node import leaves
from unreid.data.build import build_cache
from unreid.data.datasets.base import ReIDDataset
from unreid.data.datasets.scorable import check_scorable
from unreid.engine.checkpoint import load_model
from unreid.engine.constraints import build_test_modifiers, build_train_constraints
from unreid.engine.data import Extraction, build_data, round_loader
from unreid.engine.hooks import HOOKS, Evaluate, Hook, Run
from unreid.engine.optim import LRSchedule, build_optimizer
from unreid.engine.precision import Precision
from unreid.engine.rounds import RoundGuard
from unreid.engine.trainer import Builders, Trainer
from unreid.evaluation.evaluator import Evaluator
from unreid.methods import METHODS, InstanceDiscrimination, Method, build_method
from unreid.models.batch_norm import recalibrate_bn
from unreid.models.embedding import EmbeddingModel
from unreid.models.folded_norms import settle
from unreid.models.memory_format import set_memory_format
from unreid.models.pretrained import published_weights
from unreid.structures import RoundPlan, camids_of
from unreid.utils.distributed import from_main, get_world_size, is_main
from unreid.utils.errors import UserError
from unreid.utils.events import WRITERS, ConsoleWriter, EventStorage, JsonWriter, TensorBoardWriter, Writer
from unreid.utils.registry import fold

logger = logging.getLogger(__name__)

SETTLING_IMAGES = 512
"""Images whose statistics stand for the training list's."""


def build_model(cfg: CfgNode, device: torch.device, num_samples: int = 0, *, pretrained: bool = True) -> EmbeddingModel:
    """The embedding model on ``device``; ``num_samples`` sizes the classifier where the config asks for one.

    ``pretrained`` False skips pre-trained weights, where a checkpoint replaces them anyway.

    Raises:
        UserError: ``MODEL.SYNC_BN`` with several processes without CUDA.
    """
    if cfg.MODEL.SYNC_BN and get_world_size() > 1 and device.type != "cuda":
        raise UserError("MODEL.SYNC_BN works between CUDA devices only: switch it off, or use MODEL.BN_CHUNKS.")
    model = EmbeddingModel.from_config(cfg, num_classes=num_samples, pretrained=pretrained)
    set_memory_format(model.to(device), channels_last=cfg.OPTIM.CHANNELS_LAST, compiled=cfg.OPTIM.COMPILE)
    return model


def build_writers(
    cfg: CfgNode, output_dir: Path, resume_step: int | None = None, resume_rows: int | None = None
) -> list[Writer]:
    """Where the events of a run go; only the main process has writers."""
    if not is_main():
        return []
    writers: list[Writer] = [ConsoleWriter(), JsonWriter(output_dir, resume_step, resume_rows)]
    if cfg.LOG.TENSORBOARD:
        writers.append(TensorBoardWriter(output_dir / "tensorboard", resume_step))
    makers = dict.fromkeys(WRITERS.get(name) for name in cfg.LOG.WRITERS)  # each once, however it is spelt
    writers += [make(output_dir, dict(leaves(cfg)), resume_step) for make in makers]
    return writers


def build_evaluate(cfg: CfgNode, tests: list[ReIDDataset], extraction: Extraction, feature: str) -> Evaluate | None:
    """encoder -> scores per test set, or None without a test set.

    Raises:
        UserError: a test set cannot be scored, or its relations do not fit it.
    """
    if not tests:
        return None
    for dataset in tests:
        check_scorable(dataset)
    evaluators = {
        dataset.name: Evaluator.from_config(cfg, dataset, build_test_modifiers(cfg, dataset)) for dataset in tests
    }

    def evaluate(encoder: nn.Module) -> dict[str, dict[str, float]]:
        results = {}
        for name, evaluator in evaluators.items():
            query, gallery = (
                extraction(encoder, split.tracklets, feature).values for split in (evaluator.query, evaluator.gallery)
            )
            results[name] = from_main(partial(evaluator.score, query, gallery))
        return results

    return evaluate


def assemble(cfg: CfgNode, output_dir: Path, device: torch.device, *, train: bool, loaded: bool) -> Run:
    """What a run is made of: data, network and how both are evaluated.

    Nothing is written: whatever is wrong with the data, the network or the relations is said before the run begins.

    Args:
        train: with the training list and an image cache, which only pays where images are read more than once.
        loaded: a checkpoint is going to replace the weights, so that nothing needs to prepare them.
    """
    init = cfg.MODEL.INIT_PATH if not loaded else ""
    backbone = cfg.MODEL.BACKBONE
    if train and backbone.PRETRAIN and not (loaded or init or backbone.PRETRAIN_PATH):
        published_weights(backbone.NAME, backbone.PRETRAIN_VERSION)  # are they to be had? Data may be rendered next
    data = build_data(cfg, train)
    model = build_model(cfg, device, len(data.tracklets), pretrained=not (loaded or init))
    if init:
        load_model(init, model, start=True)
    cache = build_cache(cfg, device) if train else None
    extraction = Extraction(cfg, device, cache)
    feature = METHODS.get(cfg.METHOD.NAME).retrieval_feature
    evaluate = build_evaluate(cfg, data.tests, extraction, feature)
    return Run(cfg, output_dir, device, data, model, extraction, feature, evaluate)


def build_trainer(
    cfg: CfgNode,
    output_dir: Path,
    device: torch.device,
    storage: EventStorage,
    *,
    resumed: bool = False,
    hooks: Sequence[Hook] = (),
) -> Trainer:
    """The whole training, see :func:`assemble`.

    Args:
        resumed: a checkpoint will be loaded into it.
        hooks: further hooks, called after those that ``HOOKS`` names.
    """
    run = assemble(cfg, output_dir, device, train=True, loaded=resumed)
    model = run.model
    if not resumed:
        _settle_norms(run)
    if cfg.MODEL.RECALIBRATE_BN and not resumed:
        recalibrate_bn(model, unlabelled_batches(run, cfg.MODEL.RECALIBRATE_BN))
    method = _method_of(run)
    warmup = None
    if cfg.WARMUP.EPOCHS:
        warmup = InstanceDiscrimination.from_warmup_config(
            cfg, model=model, teacher=method.teacher, camids=method.camids
        )
    _distribute(cfg, model, [method] if warmup is None else [method, warmup], device)
    return Trainer(
        model=model,
        method=method,
        warmup=warmup,
        builders=_builders(run),
        guard=RoundGuard(cfg.CLUSTER.MAX_EMPTY_ROUNDS),
        precision=Precision(cfg.OPTIM.AMP, cfg.OPTIM.CLIP_GRAD, device),
        storage=storage,
        hooks=build_hooks(run, hooks),
        relabel_every=cfg.CLUSTER.EVERY,
        seed=cfg.SEED,
    )


def _method_of(run: Run) -> Method:
    """The method, with the labelled source and what is known about pairs taken over."""
    method = build_method(run.cfg, model=run.model, camids=camids_of(run.data.tracklets).tolist())
    source = run.data.source
    if source is not None:
        method.take_source(
            source.labels, lambda feature: run.extraction(method.encoder, source.tracklets, feature, round=0).values
        )
    constraints = build_train_constraints(run.cfg, run.data)
    if constraints is not None:
        method.constrain(constraints)
    return method


def _builders(run: Run) -> Builders:
    cfg, tracklets = run.cfg, run.data.tracklets
    return Builders(
        loader=lambda plan, views, is_warmup: round_loader(
            cfg,
            tracklets,
            plan,
            views,
            device=run.device,
            cache=run.extraction.cache,
            channel_jitter=cfg.WARMUP.CHANNEL_JITTER if is_warmup else None,
            source=None if is_warmup else run.data.source,
        ),
        extract=lambda encoder, feature, round: run.extraction(encoder, tracklets, feature, round=round),
        optimizer=lambda: build_optimizer(cfg, run.model),
        learning_rate=LRSchedule.from_config(cfg),
    )


def unlabelled_batches(run: Run, count: int) -> Iterator[Tensor]:
    """``count`` batches of augmented images in random order, for the re-estimation of BN statistics.

    Every process sees the whole batches, so that all of them begin with the statistics that one process would have.
    """
    tracklets, cache = run.data.tracklets, run.extraction.cache
    size = min(run.cfg.DATALOADER.TRAIN_BATCH_SIZE, len(tracklets))
    plan = RoundPlan(torch.arange(len(tracklets)), epochs=1, iters=count, sampler="shuffle", batch_size=size)
    with round_loader(run.cfg, tracklets, plan, ("strong",), device=run.device, cache=cache, whole=True) as loader:
        for batch in loader.epoch(0):
            yield batch.views[0]


def _settle_norms(run: Run) -> None:
    """Gives BatchNorm layers that an export has folded away the statistics of a few hundred training images."""
    count = max(2, math.ceil(SETTLING_IMAGES / run.cfg.DATALOADER.TRAIN_BATCH_SIZE))
    layers = settle(run.model, unlabelled_batches(run, count))
    if layers:
        logger.info(
            "%d folded BatchNorm layers got the statistics of the training images; features stay the same", layers
        )


def check_numbers(cfg: CfgNode, samples: int) -> None:
    """Raises :class:`UserError` if the training list is too short for what the config makes of it."""
    if samples < 2:
        raise UserError(f"There is {samples} training sample, and nothing can be told apart: at least 2 are needed.")
    names = {fold(cfg.CLUSTER.NAME)} | ({fold(cfg.CLUSTER.WARMUP.NAME)} if cfg.CLUSTER.WARMUP.ROUNDS else set())
    clusters = cfg.CLUSTER.NUM_CLUSTERS
    if fold(cfg.METHOD.NAME) != "buc" and names & {"kmeans", "hdc"} and clusters > samples:
        raise UserError(
            f"CLUSTER.NUM_CLUSTERS {clusters} cannot be made of {samples} training samples: lower it to {samples // 2} "
            "or so."
        )


def build_hooks(run: Run, extra: Sequence[Hook] = ()) -> list[Hook]:
    """The hooks of a run, in calling order; ``extra`` are called after those that ``HOOKS`` names.

    Raises:
        UserError: there is no hook of a name in ``HOOKS``.
    """
    hooks: list[Hook] = []
    for place in hook_names(run.cfg):
        if place is None:
            hooks += extra
        else:
            hooks.append(HOOKS.get(place).from_run(replace(run, earlier=tuple(hooks))))
    return hooks


def hook_names(cfg: CfgNode) -> list[str | None]:
    """Names of a run's hooks, in calling order; None: the place of hook objects that the caller brings."""
    # A diverged loss must stop the run before anything is evaluated or saved.
    first = ["Signal", "LossGuard", "Diagnostics"]
    # In this order after an epoch: scores, their history, further hooks, the rows of all that in the metrics, the
    # checkpoint that holds it. The epoch itself was saved before (epoch_trained), its rows in the metrics before that.
    first += ["Evaluation", "LabelWatch", "History"]
    last = ["Scalars", "Checkpoint", "PseudoLabels"]
    last += [name for name, wanted in (("Progress", cfg.LOG.PROGRESS), ("RankedList", cfg.TEST.RANKED_LIST)) if wanted]
    built_in = {HOOKS.get(name) for name in (*first, *last)}
    further = {HOOKS.get(name): name for name in cfg.HOOKS}
    return [*first, *(name for kind, name in further.items() if kind not in built_in), None, *last]


def _distribute(cfg: CfgNode, model: nn.Module, methods: list[Method], device: torch.device) -> None:
    """Gives every method the callable that a training step uses: compiled, distributed, or the bare model."""
    student: nn.Module = model
    if cfg.OPTIM.COMPILE:
        student = torch.compile(student)  # type: ignore[assignment]
    if get_world_size() > 1:
        wrapper = nn.parallel.DistributedDataParallel
        # BN statistics are rank 0's and are sent before every extraction, not before every forward pass. The latest
        # torch has a new name for the switch.
        renamed = "forward_sync_buffers" in inspect.signature(wrapper).parameters
        quiet: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
        student = wrapper(
            student,
            device_ids=[device.index] if device.type == "cuda" else None,
            # The warm-up and the cluster-memory methods leave classifiers and part heads alone, the warm-up also the
            # source's BatchNorm.
            find_unused_parameters=bool(cfg.MODEL.CLASSIFIER or cfg.MODEL.PARTS or cfg.MODEL.DOMAIN_BN),
            **quiet,
        )
    for method in methods:
        method.student = student
