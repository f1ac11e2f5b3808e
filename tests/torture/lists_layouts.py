"""Public layouts with cameras counted from anywhere, foreign names, and lists in every encoding."""

from __future__ import annotations

import random
from pathlib import Path

from tests.torture.lists_checks import counts, refused, said, touch
from unreid.data.datasets import CUHK03NP, MSMT17, DukeMTMCreID, DukeMTMCVideoReID, Market1501, PersonX, VeRi776
from unreid.data.datasets.named_files import NamedFilesDataset

NAMED: tuple[tuple[type[NamedFilesDataset], str, str], ...] = (
    (Market1501, "Market-1501", "{pid:04d}_c{cam}s1_{k:06d}_00.jpg"),
    (DukeMTMCreID, "DukeMTMC-reID", "{pid:04d}_c{cam}_f{k:07d}.jpg"),
    (VeRi776, "VeRi", "{pid:04d}_c{cam:03d}_{k:08d}_0.jpg"),
    (CUHK03NP, "cuhk03-np/detected", "{pid:04d}_c{cam}_{k}.png"),
    (MSMT17, "MSMT17_V1", "{pid:04d}_c{cam}_{k:04d}.jpg"),
    (PersonX, "PersonX", "{pid:04d}_c{cam}s0_{k:02d}.jpg"),
)
STRANGERS = ("holiday.jpg", "c1_0002.png", "_0001_c1s1.jpg", "0001-c1.jpg", "-7_c1s1_000001_00.jpg")
CAMERAS = ((1, 2, 3), (0, 1, 2), (0, 1, 2, 14), (3, 4, 8), (0,), (10, 11, 12), (0, 5, 9), (7, 20))


def named_layout(rng: random.Random, folder: Path, log: list[str]) -> str:
    """A set whose names hold identity and camera; sometimes a number that no record can hold."""
    kind, place, form = rng.choice(NAMED)
    cameras = rng.choice(CAMERAS)
    ids = rng.randint(1, 3)
    splits = NamedFilesDataset.split_folders if kind is MSMT17 else kind.split_folders
    for split in splits.values():
        for cam in cameras:
            for pid in range(1, ids + 1):
                for k in range(2):
                    touch(folder / place / split / form.format(pid=pid, cam=cam, k=k))
    train = folder / place / splits["train"]
    fault = rng.choice(("none", "strangers", "identity", "camera", "spelling"))
    if fault in ("identity", "camera"):
        number = {"pid": 1, "cam": 1, "k": 9} | {"pid" if fault == "identity" else "cam": 10 ** rng.randint(19, 40)}
        touch(train / form.format(**number))
        return refused(lambda: kind(folder).train, fault, str(10**19))
    strangers = rng.sample(STRANGERS, rng.randint(1, 3)) if fault == "strangers" else []
    for name in strangers:
        touch(train / name)
    if fault == "spelling":
        touch(train / form.format(pid=1, cam=cameras[0], k=7).lstrip("0"))
    dataset = kind(folder)
    for split in splits:
        more = fault == "spelling" and split == "train"
        counts(dataset, split, images=2 * ids * len(cameras) + more, cameras=len(cameras), ids=ids)
    one = {t.camid for t in dataset.query.tracklets}
    assert one == {t.camid for t in dataset.gallery.tracklets}, "query and gallery number their cameras differently"
    if strangers:
        said(log, "left out", str(len(strangers)), min(strangers))
    if fault == "spelling":
        said(log, "taken as one", "'0001'")
    return fault


def msmt17_lists(rng: random.Random, folder: Path, log: list[str]) -> str:
    """The four lists with byte order marks, line ends, separators, and lines that cannot be believed."""
    base = folder / "MSMT17_V1"
    cameras = rng.choice(CAMERAS)
    names = {part: [] for part in ("train", "val", "query", "gallery")}
    for number, (part, listed) in enumerate(names.items()):
        for cam in cameras:
            name = f"{number:04d}/{number:04d}_{cam:03d}_{cam:02d}_0303morning_0008_0.jpg"
            touch(base / ("train" if part in ("train", "val") else "test") / name)
            listed.append(f"{name} {number // 3}")
    train = names["train"]
    fault = rng.choice(("none", "repeat", "contradiction", "no identity", "latin-1", "missing", "unlisted", "overflow"))
    if fault == "repeat":
        train.append(train[0].replace("/", rng.choice(("/", "\\", "/./"))))
    elif fault == "contradiction":
        names[rng.choice(("train", "val"))].append(train[0].replace(" 0", " 5"))
    elif fault == "no identity":
        train.append("0000/x.jpg")
    elif fault == "latin-1":
        train.append("0000/0000_000_01_caf\xe9_0.jpg 3")
    elif fault == "missing":
        train.append("0009/0009_001_01_0303morning_0008_0.jpg 3")
    elif fault == "unlisted":
        touch(base / "train/0000/0000_001_01_0303night_0008_0.jpg")
    elif fault == "overflow":
        train.append(f"{train[0].partition(' ')[0]}x.jpg {10**25}")
    encoding = "latin-1" if fault == "latin-1" else rng.choice(("utf-8", "utf-8-sig", "utf-16", "utf-32"))
    end, gap = rng.choice(("\n", "\r\n", "\r", "\n\n")), rng.choice((" ", "\t", "   "))
    for part, lines in names.items():
        text = end.join(line.replace(" ", gap) for line in lines) + rng.choice(("", end, end * 3))
        (base / f"list_{part}.txt").write_bytes(text.encode(encoding))
    words = {
        "contradiction": ("two identities", "lines") if len(train) > len(cameras) else ("identity", "line"),
        "no identity": ("line", "path identity"),
        "latin-1": ("list_train.txt, line", "UTF-8"),
        "overflow": ("line", "2**63"),
    }
    if fault in words:
        return refused(lambda: MSMT17(folder, form="v1").train, *words[fault])
    dataset = MSMT17(folder, form="v1")
    counts(dataset, "train", images=2 * len(cameras), cameras=len(cameras), ids=1)
    counts(dataset, "query", images=len(cameras), cameras=len(cameras))
    if fault != "none":
        said(log, {"repeat": "count once", "missing": "are not in", "unlisted": "in no list"}[fault], "1 ")
    return fault


def video_layout(rng: random.Random, folder: Path, log: list[str]) -> str:
    """DukeMTMC-VideoReID: a folder an identity, a folder a tracklet."""
    base = folder / "DukeMTMC-VideoReID"
    tracks = 0
    for split in ("train", "query", "gallery"):
        for pid in (1, 2):
            for track, cam in enumerate(rng.sample(range(1, 9), 2)):
                tracks += split == "train"
                for k in range(3):
                    line = "_" if rng.random() < 0.5 else ""
                    name = f"{pid:04d}{line}C{cam}{line}F{k:04d}{line}X{100 + 12 * k}.jpg"
                    touch(base / split / f"{pid:04d}/{track:04d}" / name)
    fault = rng.choice(("none", "camera 0", "stranger", "folder", "other person", "leak", "frame", "two spellings"))
    first = base / "train/0001/0000"
    if fault == "camera 0":
        touch(base / "train/0003/0000/0003_C0_F0001_X1.jpg")
        return refused(lambda: DukeMTMCVideoReID(folder).train, "camera 0")
    if fault == "frame":
        touch(base / f"train/0003/0000/0003_C1_F0001_X{10**20}.jpg")
        return refused(lambda: DukeMTMCVideoReID(folder).train, "frame")
    if fault == "stranger":
        touch(rng.choice((first, first.parent, base / "train")) / "thumb.jpg")
    elif fault == "folder":
        touch(base / "train/lost/0000/0001_C1_F0001_X1.jpg")
    elif fault == "other person":
        touch(first / "0002_C1_F0009_X1.jpg")
    elif fault == "two spellings":
        touch(base / "train/1/0009/0001_C1_F0001_X1.jpg")
    elif fault == "leak":
        victim = next((base / "query/0001/0000").iterdir())
        (first / f"0001_C1_F0900_X{rng.randint(1, 9)}.jpg").symlink_to(victim)
        camera = next(name for name in first.iterdir() if not name.is_symlink()).name.split("C")[1][0]
        for link in [path for path in first.iterdir() if path.is_symlink()]:
            link.rename(first / link.name.replace("C1", f"C{camera}"))
    dataset = DukeMTMCVideoReID(folder)
    found = dataset.train
    assert len(found) == tracks - (fault == "leak") + (fault == "two spellings"), f"{len(found)} of {tracks} tracklets"
    assert set(found.truth.pids.tolist()) == {1, 2}
    if fault != "none":
        said(log, {"leak": "query or gallery", "two spellings": "taken as one"}.get(fault, "left out"), "1 ")
    return fault
