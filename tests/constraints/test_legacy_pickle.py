"""Old pickles: plain content of every protocol is read, a hostile one runs nothing."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unreid.constraints.legacy_pickle import links_from, matrix_from, read_legacy
from unreid.constraints.relation_file import POINTER
from unreid.utils.errors import UserError

MATRIX = np.random.default_rng(0).random((4, 3), dtype=np.float32)


class Hostile:
    """Unpickling it runs a command that leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


class HostileStorage:
    """A harmless-looking tensor storage whose bytes are a hostile pickle."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce__(self) -> Any:
        return torch.storage._load_from_bytes, (self.content,)


def write(path: Path, content: Any, protocol: int = 3) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "content",
    [
        MATRIX,
        np.asfortranarray(MATRIX),
        MATRIX.astype(">f8"),
        MATRIX > 0.5,
        torch.from_numpy(MATRIX),
        torch.from_numpy(MATRIX).T,
        torch.from_numpy(MATRIX)[1:, 1:],
    ],
    ids=["array", "fortran", "big-endian", "bool", "tensor", "transposed", "view"],
)
def test_arrays_and_tensors_of_every_protocol(tmp_path: Path, content: Any, protocol: int) -> None:
    found = read_legacy(write(tmp_path / "x.pickle", content, protocol))
    assert isinstance(found, np.ndarray) and np.array_equal(found, np.asarray(content))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "content",
    [
        {0: {1, 2}, 1: {0}, 2: {0}},
        [{1, 2}, {0}, {0}],
        OrderedDict({0: [1, 2], 1: [0], 2: [0]}),
        defaultdict(set, {0: {1, 2}, 1: {0}, 2: {0}}),
        [{np.int64(1), np.int64(2)}, frozenset({np.int32(0)}), (0,)],
        [np.array([1, 2]), np.array([0]), np.array([0])],
    ],
    ids=["dict", "list", "ordered", "default", "numpy numbers", "arrays"],
)
def test_cannot_links_in_plain_containers(tmp_path: Path, content: Any, protocol: int) -> None:
    links = links_from(read_legacy(write(tmp_path / "x.pickle", content, protocol)), (3, 3))
    assert links.start.tolist() == [0, 2, 3, 4] and links.index.tolist() == [1, 2, 0, 0]


def test_a_file_of_torch_save_is_read(tmp_path: Path) -> None:
    torch.save(torch.from_numpy(MATRIX), tmp_path / "x.pickle")
    assert np.array_equal(read_legacy(tmp_path / "x.pickle"), MATRIX)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("where", ["alone", "in a list", "in a set's place", "in an array", "as a key"])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, where: str, protocol: int) -> None:
    hostile = Hostile(tmp_path / "marker")
    content: Any = {
        "alone": hostile,
        "in a list": [{1}, hostile],
        "in a set's place": {0: {1}, 1: hostile},
        "in an array": np.array([hostile], dtype=object),
        "as a key": {hostile: {1}},
    }[where]
    path = write(tmp_path / "overlap_relation.pickle", content, protocol)
    with pytest.raises(UserError, match=r"overlap_relation\.pickle was refused.*nothing in it was run.*unreid mine"):
        read_legacy(path)
    assert not (tmp_path / "marker").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "marker").exists(), "the pickle of this test must be hostile"


def test_a_hostile_tensor_storage_and_a_hostile_torch_file_are_refused(tmp_path: Path) -> None:
    hostile = Hostile(tmp_path / "marker")
    torch.save(hostile, tmp_path / "zip.pickle")
    inner = io.BytesIO()
    torch.save(hostile, inner, _use_new_zipfile_serialization=False)
    write(tmp_path / "storage.pickle", HostileStorage(inner.getvalue()))
    for name in ("zip.pickle", "storage.pickle"):
        with pytest.raises(UserError, match=f"{name} was refused and nothing in it was run"):
            read_legacy(tmp_path / name)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["builtins.eval", "builtins.getattr", "torch.load", "numpy.load", "builtins.exec"])
def test_functions_of_admitted_modules_are_refused_by_name(tmp_path: Path, name: str) -> None:
    module, _, function = name.partition(".")
    (tmp_path / "x.pickle").write_bytes(f"c{module}\n{function}\n(S'1'\ntR.".encode())
    with pytest.raises(UserError, match=f"asks for {name}"):
        read_legacy(tmp_path / "x.pickle")


def test_pointers_damage_and_absence_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pickle"
    path.write_bytes(POINTER + b"v1\noid sha256:0\nsize 268108036\n")
    with pytest.raises(UserError, match="git-lfs pointer"):
        read_legacy(path)
    path.write_bytes(pickle.dumps(MATRIX)[:-20])
    with pytest.raises(UserError, match="damaged"):
        read_legacy(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        read_legacy(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_legacy(tmp_path / "none.pickle")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([{1}], "a list of 1 where 3 sets"),
        (MATRIX, "a ndarray where 3 sets"),
        ([{1}, {3}, set()], "row 1 is linked with positions outside"),
        ({5: {1}}, "row 5"),
    ],
)
def test_other_content_than_cannot_links_is_refused(content: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        links_from(content, (3, 3))


def test_other_content_than_the_matrix_is_refused() -> None:
    assert matrix_from(MATRIX.astype(np.float64), (4, 3)).dtype == np.float32
    for content, complaint in (
        ([1], "a list where"),
        (MATRIX.T, r"\(3, 4\) where \(4, 3\)"),
        (np.full_like(MATRIX, np.inf), "finite"),
    ):
        with pytest.raises(ValueError, match=complaint):
            matrix_from(content, (4, 3))
