"""Own crops in folders: names of identities, and test images that lie in the training folder under some name."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.torture.lists_checks import counts, no_leak, refused, said, touch
from unreid.data.datasets import ImageFolder, Market1501, train_view

NAMES = (
    *("7", "07", "007", "8", "a7", "a07", "A7", "anna", "Anna", "ben\u00e9", "bene\u0301", "1.0", "1", "01", "-5"),
    *("20231127123456000001", "20231127123456000002", "9223372036854775807", "9223372036854775808", "0"),
    *("\uff17", "x y"),
)
ALIKE = ({"7", "07", "007", "\uff17"}, {"a7", "a07", "A7"}, {"anna", "Anna"}, {"1", "01"}, {"ben\u00e9", "bene\u0301"})


def own_folders(rng: random.Random, folder: Path, log: list[str]) -> str:
    """Query and gallery in a folder an identity; training is the whole, or a folder with links into the test."""
    base = folder / "crops"
    names = rng.sample(NAMES, rng.randint(2, 5))
    cameras = rng.sample(range(12), rng.randint(2, 3))
    for name in names:
        for cam in cameras:
            touch(base / "query" / name / f"cam{cam}_0.png")
            touch(base / "gallery" / name / f"cam{cam}_1.png")
    for k in range(4):
        touch(base / f"train/{k}_cam{cameras[k % len(cameras)]}.png")
    arguments = _spelling(rng, base)
    links, hard = _link_tests(rng, base, names, cameras)
    strangers = rng.randint(0, 2)
    for k in range(strangers):
        touch(base / f"train/stranger{k}.png")
    dataset = ImageFolder(arguments.pop("path"), camera_regex=r"cam(\d+)", **arguments)
    counts(dataset, "train", images=4, cameras=min(4, len(cameras)))
    counts(dataset, "query", images=len(names) * len(cameras), cameras=len(cameras), ids=len(names))
    counts(dataset, "gallery", images=len(names) * len(cameras), cameras=len(cameras), ids=len(names))
    assert (dataset.query.truth.pids >= 0).all()
    no_leak([path for t in dataset.train.tracklets for path in t.paths], dataset)
    whole = arguments["train"] not in ("train", "./train", str(base / "train"))
    leaks = hard + 2 * len(names) * len(cameras) if whole else hard + links
    if links and whole:  # what they lead to is in the same tree
        said(log, "listed already", str(links))
    if leaks:
        said(log, "query or gallery", f"{leaks} of {4 + leaks + strangers}")
    if strangers:
        said(log, f"{strangers} images", "match no camera")
    if any(len(group & set(names)) > 1 for group in ALIKE):
        said(log, "look alike")
    return "leaks" if leaks else "clean"


def _spelling(rng: random.Random, base: Path) -> dict[str, str]:
    """Folders of the splits as somebody may write them."""
    link = base.parent / "link"
    link.symlink_to(base)
    train = rng.choice(("train", "./train", str(base / "train"), ".", "./", "train/..", str(base), str(link)))
    query = rng.choice(("query", "./query", "query/", str(base / "query"), "train/../query", str(link / "query")))
    gallery = rng.choice(("gallery", "gallery//", str(base / "gallery"), str(link / "gallery")))
    return {"path": str(rng.choice((base, link))), "train": train, "query": query, "gallery": gallery}


def _link_tests(rng: random.Random, base: Path, names: list[str], cameras: list[int]) -> tuple[int, int]:
    """Some test images under names in the training folder; the numbers of symbolic and of hard links."""
    images = [
        base / part / name / f"cam{cam}_{k}.png"
        for k, part in enumerate(("query", "gallery"))
        for name in names
        for cam in cameras
    ]
    victims = rng.sample(images, rng.randint(0, 3))
    hard = 0
    for k, image in enumerate(victims):
        name = base / "train" / f"leak{k}_cam{cameras[0]}.png"
        kind = rng.choice(("symbolic", "relative", "hard"))
        if kind == "hard":
            os.link(image, name)
            hard += 1
        else:
            name.symlink_to(image if kind == "symbolic" else os.path.relpath(image, name.parent))
    return len(victims) - hard, hard


def across_datasets(rng: random.Random, folder: Path, log: list[str]) -> str:
    """A set of own crops whose folder holds the test images of another set."""
    market = folder / "Market-1501"
    for split in Market1501.split_folders.values():
        for pid in (1, 2):
            for cam in (1, 2):
                touch(market / split / f"{pid:04d}_c{cam}s1_{rng.randint(0, 9):06d}_00.jpg")
    own = folder / "own"
    clean = rng.randint(0, 3)
    for k in range(clean):
        touch(own / f"{k}.jpg")
    own.mkdir(exist_ok=True)
    (own / "more").symlink_to(market / rng.choice(("query", "bounding_box_test")))
    crops, other = ImageFolder(own, train="."), Market1501(folder)
    trains, tests = ([crops, other], []) if rng.random() < 0.5 else ([crops], [other])
    if not clean:
        return refused(lambda: train_view(trains, 0, tests), "nothing is left to train on")
    view = train_view(trains, 0, tests)
    paths = [path for t in view.tracklets for path in t.paths]
    assert len(paths) == clean + 4 * (other in trains)
    no_leak(paths, other)
    said(log, "query or gallery", f"4 of {clean + 4}")
    return "leaks"
