"""CSV manifests with one fault each."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.torture.lists_checks import counts, no_leak, refused, said, touch
from unreid.data.datasets import ImageFolder

COLUMNS = ["path", "camera", "split", "pid", "track", "frame"]
Lines = list[list[str]]
Fault = Callable[[random.Random, Lines], tuple[str, ...]]
"""Changes the lines (the header is the first) and says what the sentence must hold."""


def _sound(rng: random.Random, folder: Path) -> Lines:
    """Two tracks and two images to train on, two identities in query and gallery."""
    lines = [list(COLUMNS)]
    for k, (cam, track) in enumerate((("1", "t1"), ("1", "t1"), ("2", "t1"), ("2", "t1"), ("1", ""), ("2", ""))):
        lines.append([f"train/{k}.png", cam, "train", "", track, str(k) if track else ""])
    for split, cam in (("query", "1"), ("gallery", "2")):
        lines += [[f"{split}/{pid}.png", cam, split, pid, "", ""] for pid in ("A", "B")]
    for line in lines[1:]:
        touch(folder / line[0])
    return lines


def _pick(rng: random.Random, lines: Lines, split: str = "") -> int:
    return rng.choice([k for k in range(1, len(lines)) if split in ("", lines[k][2])])


def _set(column: str, *values: str, split: str = "", words: tuple[str, ...] = ()) -> Fault:
    def fault(rng: random.Random, lines: Lines) -> tuple[str, ...]:
        k = _pick(rng, lines, split)
        lines[k][COLUMNS.index(column)] = rng.choice(values)
        return (f"line {k + 1}", column, *words)

    return fault


def _again(column: str, value: str) -> Fault:
    """A line once more with another value."""

    def fault(rng: random.Random, lines: Lines) -> tuple[str, ...]:
        k = _pick(rng, lines, "train")
        copy = list(lines[k])
        copy[COLUMNS.index(column)] = value
        copy[0] = rng.choice((copy[0], f"./{copy[0]}", copy[0].replace("/", "//"), copy[0].replace("/", "/../train/")))
        lines.append(copy)
        return (f"lines {k + 1} and {len(lines)}", column)

    return fault


def _track(column: str, value: str) -> Fault:
    """A track that contradicts itself."""

    def fault(rng: random.Random, lines: Lines) -> tuple[str, ...]:
        for k, own in ((1, "A" if column == "pid" else value), (2, value)):
            lines[k][COLUMNS.index(column)] = own
        return ("lines 2 and 3", "t1")

    return fault


WRONG = ("filename", "camid", "Split", "person_id", "tracklet", "fram")


def _header(rng: random.Random, lines: Lines) -> tuple[str, ...]:
    k = rng.randrange(len(COLUMNS))
    lines[0][k] = rng.choice((WRONG[k], COLUMNS[k] + "s", COLUMNS[k].upper(), COLUMNS[k - 1]))
    return ("line 1", lines[0][k])


def _fields(rng: random.Random, lines: Lines) -> tuple[str, ...]:
    k = _pick(rng, lines)
    if rng.random() < 0.5:
        lines[k].pop()
    else:
        lines[k].append("more")
    return (f"line {k + 1}", "fields")


def _missing(rng: random.Random, lines: Lines) -> tuple[str, ...]:
    k = rng.randrange(1, len(lines) - 1)
    lines[k][0] = "nowhere/1.png"
    lines[k + 1][0] = "C:\\data\\2.png"
    return (f"line {k + 1}", "2 of")


FAULTS: dict[str, Fault] = {
    "camera empty": _set("camera", "", "nan", "None"),
    "split unknown": _set("split", "test", "Train", "galery", "0"),
    "frame": _set("frame", "1.5", "-1", "x", "9" * 30, "\u00b2"),
    "test without identity": _set("pid", "", "nan", "-1", "-1.0", split="query"),
    "gallery without identity": _set("pid", "", "NaN", "null", split="gallery"),
    "rounded": _set("pid", "2.02311E+19", "1e+20", "20231127123456000000.0", words=("rounded",)),
    "two cameras": _again("camera", "9"),
    "two splits": _again("split", "gallery"),
    "two identities": _again("pid", "Z"),
    "track of two": _track("pid", "B"),
    "frame twice": _track("frame", "5"),
    "header": _header,
    "fields": _fields,
    "files missing": _missing,
}
DOUBTS = ("none", "repeat", "float", "extra column", "link", "backslash", "alike", "both", "blank lines", "no split")


def manifest(rng: random.Random, folder: Path, log: list[str]) -> str:
    """A manifest with a contradiction, which is refused, or with something doubtful, which is read and said."""
    lines = _sound(rng, folder)
    name = rng.choice((*FAULTS, *DOUBTS))
    words = FAULTS[name](rng, lines) if name in FAULTS else _doubt(rng, name, lines, folder)
    if name == "two splits":
        lines[-1][COLUMNS.index("pid")] = "A"
    file = folder / "m.csv"
    delimiter, end = rng.choice(",;\t|"), rng.choice(("\n", "\r\n", "\r"))
    text = end.join(delimiter.join(line) for line in lines) + rng.choice(("", end, end * 2))
    file.write_bytes(text.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16"))))
    if name in FAULTS:
        refused(lambda: ImageFolder(folder, manifest="m.csv"), *words)
        return "refused"
    dataset = ImageFolder(folder, manifest=rng.choice(("m.csv", str(file))))
    cameras = 3 if name == "alike" else 2
    counts(dataset, "train", images=6, cameras=cameras)
    counts(dataset, "query", images=2, cameras=1, ids=2)
    counts(dataset, "gallery", images=2 + (name == "both"), cameras=1 + (name == "both"), ids=2)
    assert sorted(len(t.paths) for t in dataset.train.tracklets) == (
        [1, 1, 1, 1, 2] if name == "alike" else [1, 1, 2, 2]
    )
    assert len(set(dataset.query.truth.pids.tolist()) | set(dataset.gallery.truth.pids.tolist())) == 2
    no_leak([path for t in dataset.train.tracklets for path in t.paths], dataset)
    if words:
        said(log, *words)
    return name


def _doubt(rng: random.Random, name: str, lines: Lines, folder: Path) -> tuple[str, ...]:
    """Changes the lines; returns what must be said."""
    if name == "repeat":
        lines.append([rng.choice(("", "./", f"{folder}/", "train/../")) + lines[1][0], *lines[1][1:]])
        return ("1 lines repeat", f"line {len(lines)}")
    if name == "float":
        for line in lines[1:]:
            line[3] = line[3].replace("A", "1").replace("B", "2")
        lines[rng.choice((7, 8))][3] += ".0"
        return ("spreadsheet", "1 cells")
    if name == "extra column":
        for k, line in enumerate(lines):
            line.append("weather" if k == 0 else "rain")
        return ("weather", "not read")
    if name == "link":
        (folder / "again.png").symlink_to(folder / lines[3][0])
        lines.append(["again.png", *lines[3][1:]])
        return ("1 lines repeat",)
    if name == "backslash":
        lines[1][0] = lines[1][0].replace("/", "\\")
    if name == "alike":
        lines[1][1] = "01"
        return ("look alike", "'01'")
    if name == "both":
        lines.append([lines[7][0], lines[7][1], "gallery", *lines[7][3:]])
        return ("1 images are query and gallery",)
    if name == "blank lines":
        lines.insert(rng.randint(1, len(lines)), [""] * len(COLUMNS))
    if name == "no split":
        for line in lines:
            del line[2]
    return ()
