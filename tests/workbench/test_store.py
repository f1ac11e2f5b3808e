"""The vector store answers as the table does, also over its index, and is whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.workbench.test_assignment import world
from unreid.utils.errors import UserError
from unreid.workbench import store
from unreid.workbench.gallery import Cameras, TableGallery, find

pytest.importorskip("lancedb")


def test_it_finds_what_the_table_holds(tmp_path: Path) -> None:
    table, pids = world()
    names = [f"it's {pid}" for pid in pids]
    place = str(tmp_path / "gallery.index")
    store.build_store(place, table, names)
    found = store.LanceStore(place)
    assert len(found) == len(table) and found.meta == table.meta
    exact = TableGallery(table, names)
    for row in (0, 17):
        for cameras in (Cameras(), Cameras(without="c1"), Cameras(only=("c0", "c2"))):
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


def test_other_folders_are_no_stores(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no index"):
        store.LanceStore(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="is no index of unreid"):
        store.LanceStore(str(tmp_path))
