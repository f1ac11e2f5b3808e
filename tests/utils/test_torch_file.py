"""Files of torch.save, pickles and array archives that lie about their size, or would grow without end."""

from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unreid.utils.errors import UserError
from unreid.utils.npz import ArraysError, read_arrays
from unreid.utils.pickle_scan import DamagedError, GrowthError, scan
from unreid.utils.torch_file import check_bounds, read_torch


def save(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_what_checkpoints_hold_is_read(tmp_path: Path, zipped: bool) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    content = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "tied": [model[0].weight.detach()] * 3,
        "view": torch.arange(12.0).view(3, 4).T[1:],
        "expanded": torch.ones(1).expand(5, 7),
        "empty": torch.zeros(0, 5),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "plain": (1, 2.5, None, True, "text", b"bytes", 10**30, {1, 2}, [], {}),
        "size": torch.Size([1, 2]),
        "score": np.float64(0.25),
        "args": argparse.Namespace(arch="vit"),
        "ordered": OrderedDict(a=1),
        "dtype": torch.float16,
    }
    found = read_torch(save(tmp_path / "x.pth", content, _use_new_zipfile_serialization=zipped))
    assert found.keys() == content.keys() and found["plain"] == content["plain"]
    assert torch.equal(found["view"], content["view"]) and torch.equal(found["expanded"], content["expanded"])
    assert torch.equal(found["optimizer"]["state"][0]["exp_avg"], content["optimizer"]["state"][0]["exp_avg"])


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path / "x.pth", {"w": torch.ones(5)})
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_torch(path)["w"], torch.ones(5))


def test_a_flipped_bit_in_a_tensor_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", {"w": torch.full((1000,), 1.5)})
    content = bytearray(path.read_bytes())
    content[content.find(np.full(8, 1.5, np.float32).tobytes()) + 5] ^= 1
    path.write_bytes(bytes(content))
    torch.load(path, weights_only=True)  # which does not notice
    with pytest.raises(UserError, match="cut off or damaged.*CRC"):
        read_torch(path)


def nested(levels: int, fan: int, opener: str) -> Any:
    thing: Any = 1
    for _ in range(levels):
        thing = [thing] * fan if opener == "list" else (thing,) * fan if opener == "tuple" else {"a": thing, "b": thing}
    return thing


def test_growth_is_refused_in_a_checkpoint(tmp_path: Path) -> None:
    own: list[Any] = []
    own.append(own)
    for content, complaint in (
        (nested(50, 2, "list"), "many times over"),
        (nested(50, 2, "tuple"), "many times over"),
        (nested(50, 2, "dict"), "many times over"),
        (nested(150, 1, "list"), "more than 100 deep"),
        (own, "holds itself"),
        (torch.ones(1).expand(1 << 40), "over and over"),
    ):
        with pytest.raises(UserError, match=complaint):
            read_torch(save(tmp_path / "x.pth", content))
    read_torch(save(tmp_path / "x.pth", nested(12, 2, "list")))


@pytest.mark.parametrize("protocol", range(6))
def test_the_scan_takes_what_pickle_writes(protocol: int) -> None:
    shared = {"a": 1.5}
    thing = [
        shared,
        shared,
        {1, 2},
        frozenset({3}),
        (1, (2, (3, 4))),
        b"x",
        bytearray(b"y"),
        "é",
        2**70,
        -1,
        None,
        True,
    ]
    file = io.BytesIO(pickle.dumps(thing, protocol=protocol) + b"rest")
    scan(file)
    assert file.read() == b"rest"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"K\x01r\xff\xff\xff\x7f.", GrowthError),  # memo place two billion
        (b"]q\x00h\x00a.", GrowthError),
        (b"", DamagedError),
        (b"K\x01", DamagedError),
        (b"h\x05.", DamagedError),
        (b"t.", DamagedError),
        (b"K\x01K\x01a.", DamagedError),
        (b"\x8e" + (1 << 40).to_bytes(8, "little") + b"x.", DamagedError),
    ],
)
def test_the_scan_refuses_what_is_no_bounded_pickle(content: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        scan(io.BytesIO(content))


def test_tensors_must_lie_within_their_storage() -> None:
    assert check_bounds([2, 3], [3, 1], 0, 6) == 6 and check_bounds([0, 9], [1, 1], 5, 0) == 0
    for size, stride, offset in (
        ([2, 3], [3, 1], 1),
        ([-1], [1], 0),
        ([7], [1], 0),
        ([2], [1, 1], 0),
        ([2], [1], 1 << 63),
    ):
        with pytest.raises(DamagedError):
            check_bounds(size, stride, offset, 6)


def test_storages_must_be_as_large_as_they_say(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", {"w": torch.ones(4)})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content[:8] if name.endswith("data/0") else content)
    with pytest.raises(UserError, match="a storage of 16 bytes where 8 are there"):
        read_torch(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("x/data/0", bytes(1 << 20))
    with pytest.raises(UserError, match="unpacks to more than it holds"):
        read_torch(path)


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was refused"):
        read_torch(save(tmp_path / "x.pth", {"w": torch.eye(3).to_sparse()}))


def test_a_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UserError, match="git-lfs pointer.*git lfs pull"):
        read_torch(tmp_path / "x.pth")


def npy(shape: tuple[int, ...], content: bytes) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return head.getvalue() + content


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (npy((1 << 40,), bytes(80)), r"shape \(1099511627776,\) in 80 bytes"),
        (npy((-1,), bytes(80)), "shape"),
        (npy((3,), bytes(16)), r"shape \(3,\) in 16 bytes"),
        (b"no array", "magic"),
        (bytes(3 << 25), "unpacks to more than"),
    ],
)
def test_arrays_that_say_they_are_large_are_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ArraysError, match=complaint):
        read_arrays(tmp_path / "x.npz")


def test_arrays_are_read_as_numpy_does(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.array(["x", "ü"]),
        "c": np.int64(3),
        "d": np.ones((2, 2), order="F"),
    }
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    found = read_arrays(tmp_path / "x.npz")
    assert found.keys() == arrays.keys() and all(np.array_equal(found[name], value) for name, value in arrays.items())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("\n  first line \nsecond"), "first line "),
        (ValueError(""), "ValueError"),
        (RuntimeError("x" * 300), "x" * 200),
        (pickle.UnpicklingError("Unsupported operand 5\nmore"), "Unsupported operand 5"),
    ],
)
def test_why_a_file_is_damaged_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pth")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(UserError) as caught:
        read_torch(tmp_path / "x.pth")
    assert f"({reason})" in str(caught.value) or reason in str(caught.value) and "\n" not in str(caught.value)
    assert "second" not in str(caught.value) and "x" * 201 not in str(caught.value)
