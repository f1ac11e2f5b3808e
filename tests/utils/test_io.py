"""Files are complete or absent; unreadable checkpoints are one sentence."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.utils.errors import UserError
from unreid.utils.io import atomic_save, atomic_write_text, load_checkpoint


class Opaque:
    """Something that only pickle's code execution could restore."""


class FailsWhilePickled:
    def __reduce__(self) -> str:
        raise RuntimeError("disk full")


def test_save_and_load(tmp_path: Path) -> None:
    state = {"model": {"w": torch.randn(3, 2)}, "epoch": 4, "names": ["a"], "none": None, "rng": torch.get_rng_state()}
    atomic_save(state, tmp_path / "deep" / "checkpoint.pth")
    loaded = load_checkpoint(tmp_path / "deep" / "checkpoint.pth")
    assert torch.equal(loaded["model"]["w"], state["model"]["w"])
    assert (loaded["epoch"], loaded["names"], loaded["none"]) == (4, ["a"], None)


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    atomic_save({"epoch": 1}, path)
    with pytest.raises(RuntimeError, match="disk full"):
        atomic_save({"epoch": 2, "bad": FailsWhilePickled()}, path)
    assert load_checkpoint(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["checkpoint.pth"]


def test_everything_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("replace"), replace(*names)))
    atomic_write_text(tmp_path / "a.txt", "ä")
    assert calls == ["fsync", "replace", "fsync"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "ä"


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "ours", "")
    (tmp_path / "plain").write_text("")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")]
    assert modes[0] == modes[1]


def test_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.pth", tmp_path):
        with pytest.raises(UserError, match=f"There is no checkpoint {path}"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am no checkpoint", b"PK\x03\x04 broken", b"version https://git-lfs"]
)
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a checkpoint, or it is cut off"):
        load_checkpoint(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.pth"
    atomic_save({"w": torch.randn(1000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="cut off"):
        load_checkpoint(path)


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, as_pickle: bool) -> None:
    path = tmp_path_factory.mktemp("any") / "x.pth"
    path.write_bytes(b"\x80\x02" * as_pickle + content)
    with pytest.raises(UserError):
        load_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_refused_content(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save({"thing": Opaque()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="Python objects besides tensors"):
        load_checkpoint(path)


def test_a_bare_tensor_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(torch.zeros(2), tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds a Tensor where"):
        load_checkpoint(tmp_path / "x.pth")
