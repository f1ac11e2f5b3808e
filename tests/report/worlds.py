"""Facts of a run that never was: a few crops of several shapes under hostile names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from unreid.evaluation.distance import DistanceBlocks
from unreid.evaluation.metrics import cmc_map
from unreid.report import Facts, Samples, Setting, TestSide
from unreid.structures import Tracklet

HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    '"><svg onload=alert(1)>.png',
    "' onmouseover='alert(1).png",
    "&lt;script&gt;alert(1).png",
    "<script>alert(1).png",
    "дом 家 é.png",
    b"\xff\xfe not text.png".decode("utf-8", "surrogateescape"),
    "line\nbreak\tand\x1bescape.png",
    "javascript:alert(1).png",
    "]]>--><!--.png",
)
FOLDER = 'a <b> & "c" \'d'


def make_samples(folder: Path, count: int, *, cameras: int = 3, labelled: bool = True, seed: int = 0) -> Samples:
    """Crops of identities that look alike; every fifth name is hostile."""
    rng = np.random.default_rng(seed)
    place = folder / FOLDER / str(seed)
    place.mkdir(parents=True, exist_ok=True)
    records, ids = [], np.arange(count) % 6
    centres = rng.normal(size=(6, 16))
    for number in range(count):
        name = HOSTILE[number // 5 % len(HOSTILE)] if number % 5 == 0 else f"{number}.png"
        path = place / f"{number}{name}"
        pixels = np.full((40, 20 + 30 * (number % 2), 3), 30 * ids[number], dtype=np.uint8)
        Image.fromarray(pixels).save(path, format="PNG")
        records.append(Tracklet((str(path),), number // 6 % cameras, number))
    features = torch.from_numpy(centres[ids] + rng.normal(size=(count, 16))).float()
    labels = np.where(rng.random(count) < 0.15, -1, ids)
    return Samples(records, features, count, labels, ids if labelled else None)


def make_facts(folder: Path, **changes: Any) -> Facts:
    """Everything that a report may hold."""
    query, gallery = make_samples(folder, 18, seed=1), make_samples(folder, 36, seed=2)
    assert query.pids is not None and gallery.pids is not None
    cameras = query.camids, gallery.camids
    ranking = cmc_map(DistanceBlocks(query.features, gallery.features), query.pids, gallery.pids, *cameras)
    rounds = [
        {
            "round": r,
            "epochs": r + 1,
            "clusters": 9 - r,
            "outliers": 4,
            "largest": 9,
            "mean_size": 4.5,
            "label_free": 10.0 * r,
        }
        for r in range(4)
    ]
    measures = {"clusters": 4.0, "outliers": 2.0, "silhouette": 0.4, "pair_precision": 0.6, "pair_recall": 0.5}
    scores = {"W <b>": {"mAP": 40.0, "R1": 50.0, "R5": 60.0, "R10": 70.0}}
    facts = Facts(
        folder=f"logs/{FOLDER}",
        method="ClusterContrast",
        clusterer="DBSCAN",
        datasets=["W <b>"],
        state="finished",
        settings=[Setting("OPTIM.LR", "0.1", "0.2", "command line"), Setting("X", "<i>", "1", "configs/base/a.yml:3")],
        environment={"command": "unreid train <b>", "packages": {"torch": "2"}, "origins": {}},
        results={"finished": True, "last": {"epoch": 4, **scores}},
        repeats={"seed_1": {"last": scores}, "seed_2": {"last": {"W <b>": {"mAP": 44.0}}}},
        rounds=rounds,
        metrics=[{"step": step, "loss/memory": 3.0 / (step + 1)} for step in range(5)],
        eps=0.5,
        train=make_samples(folder, 60),
        test=TestSide("W <b>", query, gallery, ranking, same_camera=False),
        sweep=[(0.4, measures), (0.5, measures)],
        activation=[(query.paths[0], np.zeros((40, 20, 3), np.uint8))],
    )
    for name, value in changes.items():
        setattr(facts, name, value)
    return facts
