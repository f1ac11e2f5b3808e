"""From a run's folder to the facts of its report: data, features of a bounded sample, and what they say."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from unreid.clustering import inner_clusterers
from unreid.clustering.build import build_clusterer
from unreid.clustering.dbscan import DBSCAN, dbscan
from unreid.constraints.pseudo_labels import load_pseudo_labels
from unreid.data.build import build_test_transform
from unreid.data.reading import read_image
from unreid.engine.data import Data, Extraction, build_data
from unreid.engine.preflight import check_parts
from unreid.engine.reporting.files import RunFiles
from unreid.engine.reporting.sampling import choose_gallery, choose_queries, choose_train
from unreid.evaluation.activation import activation_maps, overlaid
from unreid.evaluation.diagnostics import cluster_report
from unreid.evaluation.distance import DistanceBlocks
from unreid.evaluation.metrics import cmc_map
from unreid.evaluation.selection import simplified_silhouette
from unreid.evaluation.stored_model import read_stored_model
from unreid.methods import METHODS
from unreid.neighbors import PairGraphBuilder
from unreid.neighbors.camera_centering import camera_centered
from unreid.report import Facts, Samples, Setting, TestSide
from unreid.structures import Tracklet, camids_of
from unreid.utils.arrays import spread
from unreid.utils.errors import DivergedError, UserError
from unreid.utils.job import choose_device
from unreid.utils.progress import task
from unreid.utils.registry import fold

logger = logging.getLogger(__name__)

SWEEP = 12  # values of eps
SWEPT = 5000  # samples of the sweep at most
MAPS = 12  # activation maps
NO_FEATURES = "Only what stands in the run's files is shown (--files-only)."


def collect(files: RunFiles, *, images: int, device: str = "auto", files_only: bool = False) -> Facts:
    """The facts of a run. What cannot be had is named in ``Facts.missing``; only a folder that is no run fails.

    Args:
        images: samples whose features are extracted at most, of the training list, the queries and the gallery each;
            0: all.
        device: of the network; "auto" takes CUDA where there is some.
        files_only: no checkpoint and no image is read.
    """
    cfg, place = files.cfg, choose_device(device)
    facts = Facts(
        folder=str(files.folder),
        method=cfg.METHOD.NAME,
        clusterer=cfg.CLUSTER.NAME,
        datasets=list(cfg.DATASETS.NAMES),
        state=files.state,
        settings=[Setting(*row) for row in files.settings],
        environment=files.environment,
        results=files.results,
        repeats=files.repeats,
        rounds=files.rounds,
        metrics=files.metrics,
    )
    check_parts(cfg)
    facts.labelling = METHODS.get(cfg.METHOD.NAME).labelling
    if files_only:
        facts.missing["features"] = NO_FEATURES
        return facts
    try:
        with task("reading the datasets"):
            data = build_data(cfg)
    except UserError as error:
        moved = "Where they have moved, say so right after the run: DATASETS.ROOT folder."
        facts.missing["features"] = f"The images cannot be read: {error} {moved}"
        return facts
    facts.has_cameras = len({*camids_of(data.tracklets)}) > 1
    if files.checkpoint is None:
        facts.missing["features"] = "The run has no checkpoint yet, so there are no features."
        return facts
    try:
        _add_features(facts, files, data, images, place)
    except (UserError, DivergedError) as error:
        facts.missing["features"] = str(error)
    return facts


def _add_features(facts: Facts, files: RunFiles, data: Data, images: int, place: torch.device) -> None:
    cfg, checkpoint = files.cfg, files.checkpoint
    assert checkpoint is not None
    _, model, feature = read_stored_model(checkpoint, None, (), cfg.PLUGINS)
    model.to(place)
    feature = feature or METHODS.get(cfg.METHOD.NAME).retrieval_feature
    extraction = Extraction(cfg, place)

    def sampled(
        tracklets: list[Tracklet], chosen: np.ndarray, pids: np.ndarray | None, labels: np.ndarray | None
    ) -> Samples:
        kept = [tracklets[row] for row in chosen.tolist()]
        found = extraction(model, kept, feature)
        readable = np.setdiff1d(np.arange(len(kept)), found.unreadable.numpy())
        return Samples(
            [kept[row] for row in readable.tolist()],
            found.values.cpu()[torch.from_numpy(readable)],
            len(tracklets),
            None if labels is None else labels[chosen][readable],
            None if pids is None else pids[chosen][readable],
        )

    labels = _labels(facts, files, data)
    pids = None if data.truth is None else data.truth.pids
    logger.info("features of the training samples")
    facts.train = sampled(data.tracklets, choose_train(labels, len(data.tracklets), images), pids, labels)
    if cfg.CLUSTER.CAMERA_CENTERED:  # as the run clustered them
        facts.train = replace(facts.train, features=camera_centered(facts.train.features, facts.train.camids))
    if data.tests:
        test = data.tests[0]
        logger.info("features of query and gallery of %s", test.name)
        queries = choose_queries(test.query, test.gallery, images, test.cross_camera_filter)
        gallery = choose_gallery(test.gallery, test.query.truth.pids[queries], images)
        sides = [
            sampled(split.tracklets, chosen, split.truth.pids, None)
            for split, chosen in ((test.query, queries), (test.gallery, gallery))
        ]
        if cfg.TEST.CAMERA_CENTERED:
            sides = list(_centered(*sides))
        facts.test = _ranked(test.name, *sides, filtered=test.cross_camera_filter)
    else:
        facts.missing["test"] = "The data have no query and gallery."
    _add_sweep(facts, cfg)
    _add_activation(facts, cfg, model, place)


def _labels(facts: Facts, files: RunFiles, data: Data) -> np.ndarray | None:
    path = files.own / "pseudo_labels.npz"
    if not path.is_file():
        facts.missing["clusters"] = "The run has no pseudo_labels.npz: it is written when a run ends."
        return None
    try:
        return load_pseudo_labels(path, data.keys)[0]
    except UserError as error:
        facts.missing["clusters"] = str(error)
        return None


def _ranked(name: str, query: Samples, gallery: Samples, *, filtered: bool) -> TestSide:
    assert query.pids is not None and gallery.pids is not None
    ranking = cmc_map(
        DistanceBlocks(query.features, gallery.features),
        query.pids,
        gallery.pids,
        query.camids,
        gallery.camids,
        filter_same_camera=filtered,
    )
    return TestSide(name, query, gallery, ranking, same_camera=not filtered)


def _centered(query: Samples, gallery: Samples) -> tuple[Samples, Samples]:
    """Both sides less the means of their cameras, as they are scored."""
    cameras = np.concatenate((query.camids, gallery.camids))
    both = camera_centered(torch.cat((query.features, gallery.features)), cameras)
    return replace(query, features=both[: len(query)]), replace(gallery, features=both[len(query) :])


def _add_sweep(facts: Facts, cfg: Any) -> None:
    """DBSCAN at several radii on one graph of the run's own distance."""
    if fold(facts.method) == "buc":
        facts.missing["sweep"] = "BUC merges the closest clusters and has no eps."
        return
    inner = [part for part in inner_clusterers(build_clusterer(cfg)) if isinstance(part, DBSCAN)]
    if not inner:
        facts.missing["sweep"] = f"CLUSTER.NAME {cfg.CLUSTER.NAME} has no eps."
        return
    assert facts.train is not None
    facts.eps = None if cfg.CLUSTER.ADAPTIVE else float(cfg.CLUSTER.EPS)
    train = _first(facts.train, SWEPT)
    builder = PairGraphBuilder.from_config(cfg)
    jaccard = "jaccard" in builder.metric
    eps = float(cfg.CLUSTER.EPS)
    values = np.linspace(0.4 * eps, min(1.6 * eps, 0.95) if jaccard else 1.6 * eps, SWEEP)
    values = np.unique(np.append(values.round(3), round(eps, 3)))
    logger.info("sweep of eps over %d samples", len(train))
    graph = builder(train.features, float(values[-1]), camids=train.camids)
    for value in values.tolist():
        labels = dbscan(graph, value, cfg.CLUSTER.MIN_SAMPLES, builder.tol)[0].numpy()
        known = train.pids if train.pids is not None else np.full(len(train), -1)
        measures = cluster_report(labels, known)
        found = {"clusters": measures["clusters"], "outliers": measures["outliers"]}
        found["silhouette"] = max(0.0, simplified_silhouette(train.features, labels))
        if train.pids is not None:
            found |= {key: measures[key] for key in ("pair_precision", "pair_recall")}
        facts.sweep.append((value, found))


def _first(samples: Samples, most: int) -> Samples:
    """At most so many samples, evenly spread."""
    if len(samples) <= most:
        return samples
    chosen = spread(np.arange(len(samples)), most)
    return replace(
        samples,
        tracklets=[samples.tracklets[row] for row in chosen],
        features=samples.features[torch.from_numpy(chosen)],
        labels=None if samples.labels is None else samples.labels[chosen],
        pids=None if samples.pids is None else samples.pids[chosen],
    )


def _add_activation(facts: Facts, cfg: Any, model: Any, device: torch.device) -> None:
    samples, chosen = facts.train, np.array([], dtype=np.int64)
    if facts.test is not None:  # of the queries that are found worst
        samples = facts.test.query
        chosen = np.argsort(np.nan_to_num(facts.test.ranking.ap, nan=2.0), kind="stable")[:MAPS]
    elif samples is not None:
        chosen = spread(np.arange(len(samples)), MAPS)
    if samples is None or not len(chosen):
        return
    transform = build_test_transform(cfg)
    paths = [samples.paths[row] for row in chosen.tolist()]
    pictures = [read_image(path).convert("RGB") for path in paths]
    images = transform.apply_batch(torch.stack([transform.resize(picture) for picture in pictures]).to(device))
    maps = activation_maps(model, images, torch.from_numpy(samples.camids[chosen]).to(device))
    if maps is None:
        facts.missing["activation"] = f"{cfg.MODEL.BACKBONE.NAME} gives one vector an image and keeps no map to show."
        return
    for path, picture, found in zip(paths, pictures, maps.cpu().numpy()):
        facts.activation.append((path, overlaid(np.asarray(picture), found)))
