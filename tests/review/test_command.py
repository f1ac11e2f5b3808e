"""``unreid review`` from the command line: a table of identities, what is written at the end, and what is refused."""

from __future__ import annotations

import csv
import os
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.review.conftest import make_crops
from unreid.config import load_config
from unreid.constraints.review_file import read_decisions
from unreid.engine.cli import main
from unreid.engine.review import _fingerprint, crops_of_table
from unreid.review import CropSet, ReviewServer, Session, Store
from unreid.utils.errors import UserError
from unreid.workbench import FeatureMeta, FeatureTable, IdentityTable, read_identities, write_features, write_identities


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CropSet:
    """The set as ``unreid extract`` and ``unreid cluster`` leave it, in the current folder; the crops as they are."""
    monkeypatch.chdir(tmp_path)
    crops = make_crops(tmp_path / "images")
    meta = FeatureMeta(crops.root, "resnet50", "1")
    write_features("features.npz", FeatureTable(list(crops.keys), list(crops.cameras), crops.features, meta))
    write("identities.csv", crops, {"features": "features.npz", "root": crops.root})
    return crops


def write(path: str, crops: CropSet, meta: dict[str, str]) -> None:
    pids = [str(label) for label in crops.labels.tolist()]
    confidences = np.ones(len(crops), dtype=np.float32)
    write_identities(path, IdentityTable(list(crops.keys), list(crops.cameras), pids, confidences, meta))


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says on its way out; one line."""
    assert main(["review", *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_table_of_identities_is_reviewed_and_leaves_as_csv_links_and_answers(table: CropSet) -> None:
    crops = crops_of_table(Path("identities.csv"), None)
    assert crops.keys == table.keys and crops.paths == table.paths and np.array_equal(crops.labels, table.labels)
    with Store.open("identities.review.sqlite", crops.keys, crops.labels) as store:
        session = Session(crops, store)
        session.merge(0, 1)
        session.noise([40])
        labels = store.labels.copy()
    assert main(["review", "identities.csv", "--csv", "new.csv", "--links", "people", "--answers", "answers.csv"]) == 0

    found = read_identities("new.csv")
    expected = {key: str(label) if label >= 0 else "-1" for key, label in zip(crops.keys, labels.tolist())}
    assert dict(zip(found.paths, found.pids)) == expected
    assert dict(zip(found.paths, found.confidences.tolist()))[crops.keys[40]] == 1

    links = [path for path in Path("people").rglob("*") if path.is_symlink()]
    assert sorted(os.readlink(link) for link in links) == sorted(crops.paths)
    folders = Counter(link.parent.name for link in links)
    assert (
        folders["noise"] == 1 and folders["identity_00000"] == (labels == 0).sum() and "identity_00001" not in folders
    )

    with open("answers.csv", encoding="utf-8", newline="") as file:
        assert {row["verdict"] for row in csv.DictReader(file)} == {"same", "noise"}
    assert read_decisions("answers.csv") == read_decisions("identities.review.sqlite")


def test_the_corrected_table_can_be_reviewed_again(table: CropSet) -> None:
    assert main(["review", "identities.csv", "--csv", "new.csv"]) == 0
    assert main(["review", "new.csv", "--csv", "newer.csv"]) == 0
    assert Path("newer.csv").read_bytes() == Path("new.csv").read_bytes()


def test_images_without_a_vector_are_left_out_and_names_become_numbers(table: CropSet) -> None:
    Path("named.csv").write_text(
        "path,pid\n" + f"{table.keys[1]},ann\n{table.keys[2]},bob\n{table.keys[3]},ann\nnew.jpg,ann\n"
    )
    crops = crops_of_table(Path("named.csv"), Path("features.npz"))
    assert list(crops.keys) == list(table.keys[1:4]) and crops.labels.tolist() == [0, 1, 0]
    with pytest.raises(UserError, match="does not say which features it was made from: name them with --features"):
        crops_of_table(Path("named.csv"), None)


def test_two_spellings_of_a_number_are_two_identities(table: CropSet) -> None:
    a, b, c = table.keys[:3]
    for pids, labels in (("1", "01", "-1"), [0, 1, -1]), (("0007", "0012", "-1"), [7, 12, -1]):
        Path("spelt.csv").write_text("path,pid\n" + "".join(f"{key},{pid}\n" for key, pid in zip((a, b, c), pids)))
        found = crops_of_table(Path("spelt.csv"), Path("features.npz")).labels
        assert len(np.unique(found)) == 3 and (labels[0] == 0 or found.tolist() == labels)


def test_what_cannot_be_reviewed_or_written_is_one_sentence(table: CropSet, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.csv").write_text("path,pid\nx.jpg,1\n")
    assert "has no vector of any image of other.csv" in refusal(capsys, "other.csv", "--features", "features.npz")
    Path("odd.csv").write_text("a,b\n1,2\n")
    assert "has no column path and pid" in refusal(capsys, "odd.csv")
    Path("text.npz").write_text("no table")
    assert "text.npz" in refusal(capsys, "identities.csv", "--features", "text.npz")
    with sqlite3.connect("else.sqlite") as other:
        other.execute("CREATE TABLE x (y)")
    other.close()
    assert "not one that unreid review wrote" in refusal(capsys, "identities.csv", "--store", "else.sqlite")
    with Store.open("busy.sqlite", table.keys, table.labels):
        assert "in use" in refusal(capsys, "identities.csv", "--store", "busy.sqlite")


def test_what_cannot_be_written_or_served_is_one_sentence(table: CropSet, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", "identities.csv", "--csv", "first.csv"]) == 0
    capsys.readouterr()
    said = refused_after_loading(capsys, "identities.csv", "--links", "images")
    assert "images holds something already: name a folder that is new or empty." in said
    assert "ends in .csv" in refused_after_loading(capsys, "identities.csv", "--csv", "new.txt")
    with Store.open("other.sqlite", table.keys, table.labels) as store:
        server = ReviewServer(Session(table, store), 0)
        try:
            port = str(server.server_address[1])
            assert "it is taken; choose another one with --port" in refused_after_loading(
                capsys, "identities.csv", "--port", port
            )
        finally:
            server.close()


def refused_after_loading(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line of what the command says; progress may stand before it."""
    assert main(["review", *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert not any("Traceback" in line for line in said)
    return said[-1]


def test_kept_features_of_a_run_are_those_of_its_settings(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pth"
    checkpoint.write_bytes(b"weights")
    config = "ClusterContrast_synthetic.yml"
    kept = [
        _fingerprint(checkpoint, load_config(config, overrides))
        for overrides in ([], ["DATASETS.ROOT", "elsewhere"], ["INPUT.SIZE_TEST", "[32, 16]"], ["TEST.FLIP", "True"])
    ]
    assert kept[0] == kept[1] and len(set(kept)) == 3
    checkpoint.write_bytes(b"others")
    assert _fingerprint(checkpoint, load_config(config, [])) not in kept
