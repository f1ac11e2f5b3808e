"""Manifests: contradictions are refused with their lines, doubtful things are read and said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from unreid.data.datasets import ImageFolder
from unreid.utils.errors import UserError

HEADER = "path,camera,split,pid,track,frame\n"
TEST = "4.png,1,query,A,,\n5.png,2,gallery,A,,\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(8):
        (tmp_path / f"{number}.png").touch()
    for name in ("query", "deep/gallery"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "0.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "0.png")
    return tmp_path


def data(folder: Path, text: str | bytes) -> ImageFolder:
    (folder / "m.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return ImageFolder(folder, manifest="m.csv")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            "0.png,1,query,A,7,\n1.png,1,query,B,7,\n",
            r"lines 2 and 3: track '7' of query.* two identities, 'A' and 'B'",
        ),
        ("0.png,1,train,A,7,\n1.png,1,train,,7,\n2.png,1,train,B,7,\n", "lines 2 and 4: track '7' of train"),
        ("0.png,1,train,,7,3\n1.png,1,train,,7,3\n", "lines 2 and 3: track '7' .* has frame 3 twice"),
        ("0.png,1,,,,\n0.png,2,,,,\n", "lines 2 and 3: 0.png is listed twice, with the camera '1' and '2'"),
        ("0.png,1,train,,,\n./0.png,1,query,A,,\n", "lines 2 and 3: 0.png is listed twice, with the split"),
        ("0.png,1,train,,,\nlink.png,1,gallery,A,,\n", "0.png, which is the file link.png, is listed twice"),
        ("0.png,1,train,,,\nhard.png,1,gallery,A,,\n", "0.png, which is the file hard.png, is listed twice"),
        ("0.png,1,query,A,,\n0.png,1,gallery,B,,\n", "lines 2 and 3: 0.png is listed twice"),
        ("0.png,1,train,,,\n1.png,1,query,,,\n2.png,1,gallery,-1,,\n", r"line 3: a query image needs .* \(2 such"),
        ("0.png,1,train,,,\n1.png,1,query,nan,,\n", "line 3: a query image needs an identity"),
        ("0.png,1,train,,\n", "line 2: 5 fields where the header has 6"),
        ("0.png,1,train,,,,more\n", "line 2: 7 fields where the header has 6"),
        ("8.png,1,train,,,\n0.png,1,,,,\n9.png,1,,,,\n", r"line 2: there is no file .*8.png \(2 of 3 lines"),
        ("query,1,train,,,\n", "line 2: there is no file"),
        ("0.png,1,train,,,\nm.csv,1,train,,,\n", "line 3: m.csv is not an image"),
        ("0.png,1,Query,A,,\n", "line 2: split must be one of .* not 'Query'; did you mean 'query'"),
        ("0.png,1,train,,,1e400\n", "line 2: frame must be a whole number"),
        (f"0.png,1,train,,,{10**20}\n", "line 2: frame must be a whole number"),
        ("0.png,1,train,2.02311E+19,,\n", r"line 2: a spreadsheet has rounded the pid to '2.02311E\+19'"),
        ("0.png,1,train,20231127123456001.0,,\n", "line 2: a spreadsheet has rounded the pid"),
        ("0.png,1,train,,,\n1.png,NaN,train,,,\n", "line 3: the column camera is empty"),
        ('"0.png,1,train,,,\n1.png,1,train,,,\n', "cannot be read: unexpected end of data"),
    ],
)
def test_contradictions_have_a_line(folder: Path, lines: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        data(folder, HEADER + lines)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("path,camera,splt", "no column 'splt', did you mean 'split'"),
        ("path,camera,identity", "no column 'identity', did you mean 'pid'"),
        ("Path,camera,pid", "no column 'Path', did you mean 'path'"),
        ("path,camid,pid", "no column 'camid', did you mean 'camera'"),
        ("path,camera,camera", "the column 'camera' occurs 2 times"),
        ("path,weather,pid", "no column camera; known columns"),
    ],
)
def test_columns(folder: Path, header: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"m.csv, line 1: .*{sentence}"):
        data(folder, f"{header}\n0.png,1,\n")


def test_other_columns_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(data(folder, "path,camera,weather,\n0.png,1,rain,\n1.png,2,sun,\n").train) == 2
    assert "'weather', '' are not read" in caplog.text or "'weather' are not read" in caplog.text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_delimiters_and_encodings(folder: Path, delimiter: str, encoding: str) -> None:
    text = (HEADER + '"0.png",1,train,,,\r\n\r\n,,,,,\r\n' + TEST).replace(",", delimiter)
    dataset = data(folder, text.encode(encoding))
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (1, 1, 1)


@pytest.mark.parametrize("again", ["0.png", "./0.png", "query/../0.png", "link.png", "hard.png", "{folder}/0.png"])
def test_a_repeated_line_counts_once(folder: Path, again: str, caplog: pytest.LogCaptureFixture) -> None:
    for track in ("", "7"):
        text = f"0.png,1,train,,{track},\n1.png,2,train,,,\n{again.format(folder=folder)},1,train,,{track},\n"
        assert [len(t.paths) for t in data(folder, HEADER + text).train.tracklets] == [1, 1]
        assert "1 lines repeat an image that is listed already and count once (first: line 4" in caplog.text


def test_a_query_may_be_in_the_gallery(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = data(folder, HEADER + TEST + "4.png,1,gallery,A,,\n")
    assert len(dataset.gallery) == 2
    assert "1 images are query and gallery" in caplog.text


def test_floats_of_a_spreadsheet(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = data(
        folder, HEADER + "0.png,1.0,train,,2.0,3.0\n1.png,1,train,,2,4\n2.png,1,query,7.0,,\n3.png,2,gallery,7,,\n"
    )
    assert dataset.train.tracklets[0].frames == (3, 4)
    assert dataset.query.truth.pids.tolist() == dataset.gallery.truth.pids.tolist() == [7]
    assert "4 cells were written by a spreadsheet" in caplog.text


def test_lookalikes_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = data(
        folder, HEADER + "0.png,1,query,07,,\n1.png,01,gallery,7,,\n2.png,2,gallery,07,,\n3.png,2,query,anna,,\n"
    )
    assert len(set(dataset.query.truth.pids.tolist() + dataset.gallery.truth.pids.tolist())) == 3
    assert "identity names look alike and are taken as different: '07' and '7'" in caplog.text
    assert "camera names look alike and are taken as different: '01' and '1'" in caplog.text
    data(folder, HEADER + "0.png,1,train,ann,,\n1.png,1,train,ann\u200b,,\n")
    assert r"'ann' and 'ann\u200b'" in caplog.text


def test_the_folder_decides_the_split_however_it_is_spelled(folder: Path) -> None:
    (folder / "m.csv").write_text("path,camera,pid\n./query/a.png,1,A\ndeep\\gallery\\a.png,2,A\n0.png,1,\n")
    dataset = ImageFolder(folder, manifest="m.csv", gallery="deep/gallery", train=".")
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (1, 1, 1)
    (folder / "m.csv").write_text(f"path,camera,pid\n{folder}/query/a.png,1,A\n0.png,1,\n")
    assert len(ImageFolder(folder, manifest="m.csv").train) == 1


def test_keys_do_not_depend_on_the_machine(folder: Path) -> None:
    dataset = data(folder, f"path,camera\n{folder}/0.png,1\n./1.png,2\n")
    names = [t.paths[0].removeprefix(f"{dataset.folder}/") for t in dataset.train.tracklets]
    assert names == ["0.png", "1.png"]


def test_tracks_number_per_camera(folder: Path) -> None:
    dataset = data(folder, HEADER + "0.png,1,train,,7,\n1.png,2,train,,7,\n2.png,1,train,B,7,\n")
    assert [len(t.paths) for t in dataset.train.tracklets] == [2, 1], "the same number elsewhere is another track"
    assert sorted(dataset.train.truth.pids.tolist()) == [-1, 1], "one line that knows the identity is enough"


def test_frames_of_some_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = data(folder, HEADER + "0.png,1,train,,7,3\n1.png,1,train,,7,\n")
    assert dataset.train.tracklets[0].frames is None
    assert "1 tracks have frame numbers for some of their images only" in caplog.text
