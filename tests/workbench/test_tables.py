"""Feature tables and identities tables: what is written is what is read, and anything else is one sentence."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unreid.data.datasets.manifest_table import read_table
from unreid.engine.commands import CLUSTER, SEARCH
from unreid.engine.commands.cluster import clusterer_config
from unreid.utils.errors import InputError, UserError
from unreid.workbench import (
    FeatureMeta,
    FeatureTable,
    IdentityTable,
    read_features,
    read_identities,
    write_features,
    write_identities,
)
from unreid.workbench.feature_table import VERSION, parse_meta, require_same_model, write_rows

META = FeatureMeta("/data/crops", "run", "ab12", "embedding", {"size": [256, 128]}, ["broken.jpg"])
PATHS = ["a/1.jpg", 'b/ü, "x".jpg', "c.jpg"]
CAMERAS = ["c1", "-", "c2"]


def a_table(paths: list[str] = PATHS) -> FeatureTable:
    vectors = np.random.default_rng(0).normal(size=(len(paths), 5)).astype(np.float32)
    return FeatureTable(list(paths), CAMERAS[: len(paths)], vectors, META)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("odd", [False, True])
def test_a_feature_table_comes_back_as_it_was(tmp_path: Path, suffix: str, odd: bool) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    table = a_table([os.fsdecode(b"caf\xe9.jpg"), *PATHS[1:]] if odd else PATHS)
    path = tmp_path / f"features.{suffix}"
    write_features(path, table)
    found = read_features(path)
    assert (found.paths, found.cameras, found.meta) == (table.paths, table.cameras, table.meta)
    assert found.vectors.dtype == np.float32 and np.array_equal(found.vectors, table.vectors)
    first = path.read_bytes()
    write_rows(path, table.paths, table.cameras, np.split(table.vectors, 3), META)
    again = read_features(path)
    assert np.array_equal(again.vectors, table.vectors)
    write_features(path, table)
    assert path.read_bytes() == first


def test_other_programs_read_the_columns(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write_features(tmp_path / "features.parquet", a_table())
    columns = pq.read_table(tmp_path / "features.parquet")
    assert columns.column_names == ["path", "camera", "vector"]
    assert columns.column("path").to_pylist() == PATHS
    assert np.allclose(columns.column("vector")[0].as_py(), a_table().vectors[0])


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs the package pyarrow.*unreid\[workbench\].*\.npz"):
        write_features(tmp_path / "features.parquet", a_table())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("content", [b"", b"some bytes", b"PAR1PAR1", b"PK\x05\x06" + bytes(18)])
def test_other_files_are_no_feature_tables(tmp_path: Path, suffix: str, content: bytes) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no feature table"):
        read_features(path)


def test_a_parquet_file_of_others_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"path": ["a"], "vector": [[1.0]]}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="no entry 'unreid'"):
        read_features(tmp_path / "x.parquet")


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    write_features(tmp_path / "all.parquet", a_table())
    pq.write_table(pq.read_table(tmp_path / "all.parquet").slice(0, 0), tmp_path / "none.parquet")
    with pytest.raises(UserError, match="none.parquet holds no vector at all"):
        read_features(tmp_path / "none.parquet")


def test_not_finite_and_missing_and_oddly_named_tables(tmp_path: Path) -> None:
    table = a_table()
    table.vectors[1, 2] = np.nan
    write_features(tmp_path / "x.npz", table)
    with pytest.raises(UserError, match="NaN or infinite, of b/"):
        read_features(tmp_path / "x.npz")
    with pytest.raises(UserError, match="There is no feature table"):
        read_features(tmp_path / "y.npz")
    with pytest.raises(UserError, match=r"ends in \.parquet"):
        write_features(tmp_path / "x.csv", table)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("rows", [2, 4])
def test_a_table_with_more_or_fewer_vectors_than_paths_is_not_written(tmp_path: Path, suffix: str, rows: int) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    blocks = [np.zeros((1, 5), np.float32)] * rows
    with pytest.raises(ValueError, match=f"{rows} vectors for 3 paths|expected length 0"):
        write_rows(tmp_path / f"features.{suffix}", PATHS, CAMERAS, blocks, META)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("version", VERSION + 1, f"it has version {VERSION + 1}, and this release reads version {VERSION}"),
        ("version", None, "it has version None"),
        ("format", "others", "its meta does not say so"),
        ("fingerprint", 7, "its meta is damaged"),
    ],
)
def test_a_meta_of_another_release_or_program_is_refused(key: str, value: object, reason: str) -> None:
    assert parse_meta(META.to_json()) == META
    with pytest.raises(ValueError, match=reason):
        parse_meta(json.dumps(json.loads(META.to_json()) | {key: value}))


def test_a_table_has_one_path_one_camera_and_one_vector_each() -> None:
    vectors = np.zeros((3, 5), np.float32)
    assert FeatureTable(PATHS, CAMERAS, vectors, META).has_cameras
    assert not FeatureTable(PATHS, ["-"] * 3, vectors, META).has_cameras
    for paths, cameras in ((PATHS[:2], CAMERAS), (PATHS, CAMERAS[:2])):
        with pytest.raises(InputError, match="paths and .* cameras for 3 vectors"):
            FeatureTable(paths, cameras, vectors, META)
    for wrong in (vectors.astype(np.float64), vectors[0]):
        with pytest.raises(InputError, match="vectors are float32"):
            FeatureTable(PATHS, CAMERAS, wrong, META)


def test_vectors_of_two_models_do_not_mix() -> None:
    other = FeatureMeta("/data", "resnet", "cd34")
    require_same_model(META, META, ("a", "b"))
    with pytest.raises(UserError, match="a.npz was made by run and b.npz by resnet"):
        require_same_model(META, other, ("a.npz", "b.npz"))


def identities(paths: list[str]) -> IdentityTable:
    confidences = np.array([0.5, 0.0, 1.0], np.float32)
    return IdentityTable(paths, CAMERAS, ["0", "-1", "anna"], confidences, {"root": "/data", "eps": 0.5})


@pytest.mark.parametrize("first", [PATHS[0], os.fsdecode(b"caf\xe9.jpg")])
def test_an_identities_table_comes_back_as_it_was(tmp_path: Path, first: str) -> None:
    table = identities([first, *PATHS[1:]])
    write_identities(tmp_path / "identities.csv", table)
    written = (tmp_path / "identities.csv").read_bytes()
    assert written.endswith(b"\n") and b"\r\n" not in written  # as line-wise tools read it
    found = read_identities(tmp_path / "identities.csv")
    assert (found.paths, found.cameras, found.pids, found.meta) == (table.paths, table.cameras, table.pids, table.meta)
    assert np.array_equal(found.confidences, table.confidences)
    labels, names = found.labels
    assert labels.tolist() == [0, -1, 1] and names == ["0", "anna"]


def test_it_is_a_manifest(tmp_path: Path) -> None:
    write_identities(tmp_path / "identities.csv", identities(PATHS))
    rows = [cells for _, cells in read_table(tmp_path / "identities.csv")]
    assert [row["path"] for row in rows] == PATHS
    assert [row["pid"] for row in rows] == ["0", "-1", "anna"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,camera\na.jpg,1\n", "has no column pid"),
        ("path,pid\na.jpg,1\na.jpg,2\n", "line 3: a.jpg is there twice"),
        ("path,pid\na.jpg,1,2\n", "line 2: 3 cells where the header has 2"),
        ("path,pid\n,1\n", "line 2: the path is empty"),
        ("path,pid,confidence\na.jpg,1,2\n", "line 2: the confidence is 2"),
        ("path,pid,confidence\na.jpg,1,high\n", "line 2: could not convert"),
        ('path,pid\n"a.jpg,1\n', "line 2"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=reason):
        read_identities(tmp_path / "x.csv")


def test_a_persons_table_needs_two_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbfpath,pid\r\na.jpg,7\r\n\r\n")
    table = read_identities(tmp_path / "x.csv")
    assert (table.paths, table.cameras, table.pids, table.confidences.tolist()) == (["a.jpg"], ["-"], ["7"], [1.0])
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match="does not describe the identities"):
        read_identities(tmp_path / "x.csv")


def test_tables_are_read_without_torch() -> None:
    code = "import sys, unreid.workbench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_plugins_of_a_clusterer_are_imported(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("")
    parser = argparse.ArgumentParser()
    CLUSTER.add_arguments(parser)
    words = ["f.npz", "-o", "i.csv", "--plugins", str(tmp_path / "own.py")]
    assert [str(tmp_path / "own.py")] == clusterer_config(parser.parse_args(words)).PLUGINS


@pytest.mark.parametrize("option", ["--model", "--camera-regex", "--manifest", "--config-file", "--feature"])
def test_a_query_table_takes_no_option_about_images(tmp_path: Path, option: str) -> None:
    for name in ("gallery.npz", "query.npz"):
        (tmp_path / name).write_bytes(b"")
    parser = argparse.ArgumentParser()
    SEARCH.add_arguments(parser)
    words = [str(tmp_path / "gallery.npz"), str(tmp_path / "query.npz"), option, "pooled"]
    with pytest.raises(UserError, match=f"is a feature table, which needs no {option}"):
        SEARCH.run(parser.parse_args(words))


def test_what_stands_beside_a_table_is_its_own_or_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"mAP": 50.0}')
    with pytest.raises(UserError, match="results.json does not describe the identities of .*results.csv: move it away"):
        write_identities(tmp_path / "results.csv", identities(PATHS))
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    write_identities(tmp_path / "a.csv", identities(PATHS))
    write_identities(tmp_path / "a.csv", IdentityTable(PATHS, CAMERAS, ["0", "1", "2"], np.ones(3, np.float32)))
    assert read_identities(tmp_path / "a.csv").meta == {}, "not those of the table before"
