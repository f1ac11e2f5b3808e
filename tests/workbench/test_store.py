"""The vector store answers as the table does, also over its index, and is whole or not there."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workbench.lance_server import KEY, serving
from tests.workbench.test_assignment import world
from unreid.engine.cli import main
from unreid.utils.errors import UserError
from unreid.workbench import FeatureTable, store
from unreid.workbench.gallery import Cameras, TableGallery, find

pytest.importorskip("lancedb")

CAMERAS = (Cameras(), Cameras(without="c1"), Cameras(only=("c0", "c2")), Cameras(only=("c0", "c1"), without="c1"))


def test_it_finds_what_the_table_holds(tmp_path: Path) -> None:
    table, pids = world()
    names = [os.fsdecode(b"it's M\xfcller %d" % pid) for pid in pids]
    place = str(tmp_path / "gallery.index")
    store.build_store(place, table, names)
    found = store.LanceStore(place)
    assert len(found) == len(table) and found.meta == table.meta
    exact = TableGallery(table, names)
    for row in (0, 17):
        for cameras in CAMERAS:
            for rerank in (False, True):
                ours = find(found, table.vectors[row], 7, own=table.paths[row], cameras=cameras, rerank=rerank)
                theirs = find(exact, table.vectors[row], 7, own=table.paths[row], cameras=cameras, rerank=rerank)
                assert [(hit.path, hit.camera, hit.pid) for hit in ours] == [
                    (hit.path, hit.camera, hit.pid) for hit in theirs
                ]
                assert np.allclose([hit.score for hit in ours], [hit.score for hit in theirs], atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.index"]


def test_a_store_is_replaced_as_a_whole(tmp_path: Path) -> None:
    place = str(tmp_path / "gallery.index")
    for ids in (12, 5):
        table, pids = world(ids=ids)
        store.build_store(f"file://{place}", table, [str(pid) for pid in pids])
        assert len(store.LanceStore(place)) == len(table)


def test_a_store_comes_back_whose_successor_was_killed_between_two_renames(tmp_path: Path) -> None:
    place = tmp_path / "gallery.index"
    table, pids = world(ids=3)
    store.build_store(str(place), table, [str(pid) for pid in pids])
    rename, done = os.rename, []

    def once(*words: Any) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(rename(*words))

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "rename", once)
        store.build_store(str(place), table, ["0"] * len(pids))
    assert not place.exists()
    assert {hit.pid for hit in store.LanceStore(str(place)).search(table.vectors[0], 50, Cameras())} == {"0", "1", "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.index"]


def test_other_folders_are_no_stores(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no index"):
        store.LanceStore(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="is no index of unreid"):
        store.LanceStore(str(tmp_path))


def same_answers(place: str, table: FeatureTable, names: list[str]) -> None:
    """A store elsewhere answers as the table does."""
    found, exact = store.LanceStore(place), TableGallery(table, names)
    assert len(found) == len(table) and found.meta == table.meta
    for cameras in CAMERAS:
        for rerank in (False, True):
            ours, theirs = (
                find(gallery, table.vectors[3], 7, own=table.paths[3], cameras=cameras, rerank=rerank)
                for gallery in (found, exact)
            )
            assert [(hit.path, hit.camera, hit.pid) for hit in ours] == [(h.path, h.camera, h.pid) for h in theirs]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with serving(tmp_path / "served") as found:
        monkeypatch.setenv("LANCEDB_HOST", found.address)
        monkeypatch.setenv("LANCEDB_API_KEY", KEY)
        yield found


def test_a_server_is_asked_as_a_folder_is(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, pids = world()
    names = [f"it's {pid}" for pid in pids]
    store.check_replaceable("db://people", overwrite=False)
    monkeypatch.setattr(store, "INDEXED_FROM", 10)
    store.build_store("db://people", table, names)
    assert server.asked.count(("vectors", "create_index")) == 2  # of vectors and cameras
    same_answers("db://people", table, names)
    with pytest.raises(UserError, match="db://people exists.*--overwrite"):
        store.check_replaceable("db://people", overwrite=False)
    store.check_replaceable("db://people", overwrite=True)


def test_nothing_else_of_a_server_is_replaced_and_half_a_store_is_none(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.database.create_table("vectors", [{"vector": [1.0, 2.0]}])
    for overwrite in (False, True):
        with pytest.raises(UserError, match="has a table 'vectors' that is no index of unreid"):
            store.check_replaceable("db://people", overwrite=overwrite)
    with pytest.raises(UserError, match="is no index of unreid"):
        store.LanceStore("db://people")
    table, pids = world()

    def stop(*words: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lancedb.remote.table.RemoteTable.create_index", stop)
    monkeypatch.setattr(store, "INDEXED_FROM", 10)
    with pytest.raises(KeyboardInterrupt):
        store.build_store("db://people", table, [str(pid) for pid in pids])
    with pytest.raises(UserError, match="was not written to its end"):
        store.LanceStore("db://people")
    store.check_replaceable("db://people", overwrite=True)


def test_what_cannot_be_reached_is_one_sentence_with_the_way_out(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, pids = world(ids=2)
    for variable, value in (("LANCEDB_API_KEY", "wrong"), ("LANCEDB_HOST", "http://127.0.0.1:9")):
        monkeypatch.setenv(variable, value)
        for ask in (
            lambda: store.check_replaceable("db://people", overwrite=False),
            lambda: store.build_store("db://people", table, [str(pid) for pid in pids]),
            lambda: store.LanceStore("db://people"),
        ):
            with pytest.raises(UserError, match="cannot be reached .* check network, LANCEDB_HOST") as refused:
                ask()
            assert len(str(refused.value)) < 500 and "{" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("ftp://people", "is no place of an index: name a folder, or one of s3://NAME"),
        ("s3://", "is no place of an index"),
        ("db://people", "needs LANCEDB_API_KEY, which is not set"),
        ("az://people/index", "needs AZURE_STORAGE_ACCOUNT_NAME, which is not set"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_anything_is_asked(
    uri: str, part: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for variable in ("LANCEDB_API_KEY", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    for words in (["index", "no.npz", "-o", uri], ["search", uri, "no.npz"]):
        assert main(words) == 2
        said = capfd.readouterr().err.strip()
        assert part in said and len(said.splitlines()) == 1


@pytest.mark.slow
def test_a_bucket_is_asked_as_a_folder_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs ``pip install 'moto[server]'``, which is not among the development packages."""
    pytest.importorskip("moto")
    from moto.server import ThreadedMotoServer

    table, pids = world()
    names = [str(pid) for pid in pids]
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT", address),
            ("AWS_ALLOW_HTTP", "true"),
        ):
            monkeypatch.setenv(name, value)
        request = urllib.request.Request(f"{address}/bucket", method="PUT")
        assert urllib.request.urlopen(request).status == 200
        store.check_replaceable("s3://bucket/people", overwrite=False)
        store.build_store("s3://bucket/people", table, names)
        same_answers("s3://bucket/people", table, names)
        with pytest.raises(UserError, match="s3://bucket/people exists"):
            store.check_replaceable("s3://bucket/people", overwrite=False)
        with pytest.raises(UserError, match="cannot be reached .*: check bucket, network, AWS_ACCESS_KEY_ID"):
            store.check_replaceable("s3://nowhere/people", overwrite=False)
    finally:
        server.stop()
