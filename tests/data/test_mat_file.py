"""MATLAB tables: as SciPy writes them, and damaged."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from unreid.data.datasets.mat_file import read_matrix

TABLE = np.array([[1, 2, 3, 1], [3, 300, -1, 6]])


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_a_table_is_read_whatever_its_type(tmp_path: Path, kind: str, compressed: bool) -> None:
    table = np.abs(TABLE).clip(max=100).astype(kind)
    savemat(tmp_path / "x.mat", {"other": TABLE, "t": table, "name": "text"}, do_compression=compressed)
    found = read_matrix(tmp_path / "x.mat", "t")
    assert found.dtype == np.int64 and np.array_equal(found, table)
    with pytest.raises(KeyError):
        read_matrix(tmp_path / "x.mat", "missing")
    with pytest.raises(ValueError, match="no matrix"):
        read_matrix(tmp_path / "x.mat", "name") if kind == "f8" else read_matrix(_complex(tmp_path), "t")


def _complex(folder: Path) -> Path:
    savemat(folder / "c.mat", {"t": np.array([1 + 2j])})
    return folder / "c.mat"


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    for content, complaint in (
        ({"t": np.array([1.5])}, "not whole"),
        ({"t": np.array([np.nan])}, "not whole"),
        ({"t": np.array([1e300])}, "too large"),
        ({"t": [np.array([1]), "a"]}, "no matrix"),
    ):
        savemat(tmp_path / "x.mat", content)
        with pytest.raises(ValueError, match=complaint):
            read_matrix(tmp_path / "x.mat", "t")
    packed = zlib.compress(struct.pack("<II", 14, 1 << 30) + bytes(5 << 26))
    head = bytes(126) + b"IM"
    (tmp_path / "x.mat").write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(ValueError, match="unpacks to more"):
        read_matrix(tmp_path / "x.mat", "t")


@pytest.mark.parametrize("compressed", [True, False])
def test_damage_is_an_error_and_nothing_worse(tmp_path: Path, compressed: bool) -> None:
    """SciPy's reader ends the process on some of these."""
    savemat(tmp_path / "x.mat", {"t": TABLE}, do_compression=compressed)
    whole, rng = (tmp_path / "x.mat").read_bytes(), random.Random(0)
    for _ in range(500):
        content = bytearray(whole)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (tmp_path / "y.mat").write_bytes(bytes(content[: rng.choice([len(content), rng.randrange(len(content))])]))
        try:
            found = read_matrix(tmp_path / "y.mat", "t")
        except (ValueError, KeyError):
            continue
        assert found.size == TABLE.size  # without compression there is no checksum
