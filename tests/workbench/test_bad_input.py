"""Every word of every command, replaced by everything it must not be: one sentence, within a second, no trace."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from unreid.engine.cli import command_line, main
from unreid.engine.commands import COMMANDS
from unreid.workbench import FeatureMeta, FeatureTable, read_features, write_features

SECONDS = 1.0
"""Of processor time, once PyTorch is imported."""

TABLE, CSV, FOLDER, FILE, MODEL, INDEX, OUT = "table", "csv", "folder", "file", "model", "index", "out"

# A call that works, and what its words are.
CALLS = {
    "extract": ["extract", (MODEL, "checkpoint.pth"), (FOLDER, "crops"), "-o", (OUT, "out.npz")],
    "extract parquet": ["extract", (MODEL, "checkpoint.pth"), (FOLDER, "crops"), "-o", (OUT, "out.parquet")],
    "extract a manifest": [
        *("extract", "checkpoint.pth", "crops", "--manifest"),
        *((CSV, "m.csv"), "-o", (OUT, "out.npz")),
    ],
    "extract a config": ["extract", "checkpoint.pth", "crops", "-o", "out.npz", "--config-file", (FILE, "c.yml")],
    "cluster": ["cluster", (TABLE, "f.npz"), "-o", (OUT, "out.csv")],
    "cluster images": ["cluster", (FOLDER, "crops"), "--model", (MODEL, "checkpoint.pth"), "-o", "out.csv"],
    "cluster answers": ["cluster", "f.npz", "-o", "out.csv", "--review", (FILE, "answers.csv")],
    "assign": [
        *("assign", (TABLE, "f.npz"), "--features", (TABLE, "f.npz"), "--identities"),
        *((CSV, "i.csv"), "-o", (OUT, "out.csv")),
    ],
    "index": ["index", (TABLE, "f.npz"), "-o", (OUT, "out.index"), "--identities", (CSV, "i.csv")],
    "search": ["search", (INDEX, "g.index"), (TABLE, "f.npz"), "-o", (OUT, "out.csv")],
    "search a table": ["search", (TABLE, "f.npz"), (FOLDER, "crops"), "--model", (MODEL, "checkpoint.pth")],
    "export": ["export", (MODEL, "checkpoint.pth"), "-o", (OUT, "out.torchscript"), "--images", (FOLDER, "crops")],
    "report": ["report", (INDEX, "run"), "-o", "out.html"],
    "review": ["review", (CSV, "i.csv"), "--features", (TABLE, "f.npz"), "--csv", (OUT, "out.csv")],
    "tune": ["tune", "--features", (FILE, "f.npz"), "--out", (OUT, "out")],
}

LONG = "x" * 300
ODD = "ünï\u202e 名'\"; $(x)"

# Kind of word -> what it must not be; {} is the suffix of the right one.
WRONG = {
    "missing": "nowhere{}",
    "odd name": ODD + "{}",
    "too long": LONG + "{}",
    "no name": "a\0b{}",
    "empty": "bad/empty{}",
    "bytes": "bad/bytes{}",
    "folder": "bad/folder{}",
    "loop": "bad/loop{}",
}
MORE = {
    TABLE: {"another suffix": "f.txt", "other columns": "bad/columns.npz", "twice": "bad/twice.npz"},
    CSV: {"other columns": "bad/columns.csv", "twice": "bad/twice.csv"},
    FOLDER: {"no image in it": "bad/void", "no image can be read": "bad/broken", "not an image": "i.csv"},
    MODEL: {"another file": "f.npz", "not its name": "resnet51", "timm": "timm/resnet5o", "a picture": "pixel.png"},
    INDEX: {"another file": "i.csv", "another folder": "crops"},
    FILE: {},
    OUT: {"below a file": "i.csv/out{}", "a folder": "bad/folder{}", "there": "bad/bytes{}", "long": LONG + "{}"},
}


# An empty folder becomes an index; a review writes its answers anew as often as it is asked.
ALLOWED = {("index", "a folder"), ("review", "there")}


def cases() -> Iterator[tuple[str, list[str]]]:
    """What it is about, and the words."""
    for name, call in CALLS.items():
        right = [word if isinstance(word, str) else word[1] for word in call]
        for place, word in enumerate(call):
            if isinstance(word, str):
                continue
            kind, suffix = word[0], Path(word[1]).suffix
            wrong = {**({} if kind == OUT else WRONG), **MORE[kind]}
            for what, text in wrong.items():
                if kind in (FOLDER, MODEL) and what == "folder" and name != "export":
                    continue  # an empty folder stands below
                if (name.split()[0], what) in ALLOWED:
                    continue
                words = [*right[:place], text.format(suffix), *right[place + 1 :]]
                yield f"{name}, {kind} {word[1]}: {what}", words


@pytest.fixture
def bad(place: Path) -> Path:
    """``place`` with everything that must not be given."""
    folder = place / "bad"
    (folder / "void").mkdir(parents=True)
    (folder / "broken").mkdir()
    shutil.copy("crops/broken_c1.png", folder / "broken" / "x.png")
    shutil.copy("f.npz", "f.txt")
    shutil.copy("crops/0_c0_0.png", "pixel.png")
    (place / "run").mkdir()
    (place / "run" / "config.yaml").write_text("SEED: 1\n")
    (place / "c.yml").write_text("SEED: 1\n")
    (place / "m.csv").write_text("path,pid,camera\n0_c0_0.png,1,1\n")
    (place / "answers.csv").write_text("first,second,verdict\n0_c0_0.png,1_c1_1.png,same\n")
    (folder / "columns.csv").write_text("a,b\n1,2\n")
    (folder / "twice.csv").write_text("path,pid,camera\na.png,1,1\na.png,2,1\n")
    np.savez(folder / "columns.npz", x=np.zeros(3))
    table = read_features("f.npz")
    paths = [table.paths[0], table.paths[0], *table.paths[2:]]
    write_features(folder / "twice.npz", FeatureTable(paths, table.cameras, table.vectors, table.meta))
    suffixes = {Path(word[1]).suffix for call in CALLS.values() for word in call if not isinstance(word, str)}
    for suffix in suffixes:
        (folder / f"empty{suffix}").touch()
        (folder / f"bytes{suffix}").write_bytes(bytes(range(256)) * 4)
        (folder / f"folder{suffix}").mkdir()
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
    return place


def test_every_wrong_word_is_one_sentence_within_a_second_and_writes_nothing(
    bad: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lancedb")
    before = sorted(bad.rglob("*"))
    found, count = [], 0
    for name, words in cases():
        capfd.readouterr()
        started = time.process_time()
        try:
            status = main(words)
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
            continue
        seconds = time.process_time() - started
        said = capfd.readouterr().err.strip()
        count += 1
        last = said.splitlines()[-1] if said else ""
        if status != 2 or not last.startswith("unreid: ") or "Traceback" in said or len(last) > 800:
            found.append(f"{name}: status {status}: {said[-600:]}")
        elif seconds > SECONDS:
            found.append(f"{name}: {seconds:.1f} s: {last}")
        added = [path for path in sorted(bad.rglob("*")) if path not in before]
        if added:
            found.append(f"{name}: wrote {added}")
            for path in reversed(added):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    assert not found, f"{len(found)} of {count}:\n" + "\n".join(found)
    assert count > 150


def test_vectors_of_another_width_are_refused(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = read_features("f.npz")
    for meta, vectors, part in (
        (table.meta, table.vectors[:, :7], "holds vectors of 7 numbers and"),
        (FeatureMeta("/data", "resnet", "cd34"), table.vectors, "two different models"),
    ):
        write_features("other.npz", FeatureTable(table.paths, table.cameras, np.ascontiguousarray(vectors), meta))
        for words in (
            ["assign", "other.npz", "--features", "f.npz", "--identities", "i.csv", "-o", "out.csv"],
            ["search", "g.index", "other.npz"],
            ["search", "f.npz", "other.npz"],
        ):
            assert main(words) == 2, words
            assert part in capfd.readouterr().err, words
    assert not (place / "out.csv").exists()


def test_names_of_any_kind_go_through_every_command(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a file system takes: blanks, quotes, commas, line ends, right-to-left marks in crops, folders, outputs."""
    folder = place / ODD
    shutil.copytree("crops", folder)
    (folder / "0_c0_0.png").rename(folder / 'a,"b"\n_c0_ü.png')
    table, identities = f"{ODD}.npz", f"{ODD}.csv"
    small = ["--set", "CLUSTER.MIN_SAMPLES", "2", "--set", "CLUSTER.K1", "6", "--eps", "0.9"]
    for words in (
        ["extract", "checkpoint.pth", ODD, "-o", table, "--camera-regex", r"_(c\d)"],
        ["cluster", table, "-o", identities, *small],
        ["assign", ODD, "--model", "checkpoint.pth", "--features", table, "--identities", identities, "-o", "new.csv"],
        ["search", table, ODD, "--model", "checkpoint.pth", "-k", "3", "-o", "found.csv"],
        ["review", identities, "--csv", "again.csv", "--links", "people"],
        ["export", "checkpoint.pth", "-o", f"{ODD}.torchscript", "--images", ODD],
    ):
        assert main(words) == 0, (words, capfd.readouterr().err)
    assert 'a,"b"\n_c0_ü.png' in read_features(table).paths
    assert json.loads(Path(f"{ODD}.json").read_text())["root"] == str(folder)


def test_answers_on_standard_output_are_a_table_and_nothing_else(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert main(["search", "f.npz", "crops", "--model", "checkpoint.pth", "-k", "2"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "query,rank,path,camera,pid,score" and len(lines) == 1 + 2 * 20
    assert main(["search", "f.npz", "f.npz", "--cameras", "no such"]) == 0
    found = capfd.readouterr()
    assert found.out.splitlines() == lines[:1] and "has f.npz images of --cameras no such?" in found.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_help_has_an_example_that_its_parser_takes(
    command: object, capsys: pytest.CaptureFixture[str], words: Callable[[str], list[str]]
) -> None:
    parser, commands = command_line()
    text = commands[command.name].format_help()  # type: ignore[attr-defined]
    example = command.example  # type: ignore[attr-defined]
    assert f"example:\n\n  unreid {command.name} {example}" in text and "exit status:" in text  # type: ignore[attr-defined]
    parser.parse_args([command.name, *words(example)])  # type: ignore[attr-defined]


@pytest.fixture
def words() -> Callable[[str], list[str]]:
    import shlex

    return shlex.split
