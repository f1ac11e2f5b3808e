"""Files are whole or as they were; what the system refuses is one sentence; what killed processes left is swept."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import stat
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from unreid.utils import writing as writing_module
from unreid.utils.errors import UserError
from unreid.utils.io import atomic_save, atomic_write_text
from unreid.utils.writing import AppendFile, UnwritableError, optional, refusal, replacing, sweep, writing


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refused)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE])
def test_every_step_may_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    path = tmp_path / "results.json"
    atomic_write_text(path, "old")
    with monkeypatch.context() as patch:
        refuse(patch, call, number)
        with pytest.raises(UserError) as caught:
            atomic_write_text(path, "new")
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} cannot be written: {os.strerror(number)}; ") and sentence.count(". ") == 0
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["results.json"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_disk_that_fills_up_in_the_middle_of_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """torch says "unexpected pos" or nothing at all; the sentence is the disk's."""
    path = tmp_path / "checkpoint.pth"
    state = {f"layer{number}": torch.full((500,), float(number)) for number in range(20)}
    atomic_save(state, path)
    left = int(path.stat().st_size * share)
    write = os.write

    def limited(handle: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(handle, data[:left])
        left -= done
        return done

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", limited)
        with pytest.raises(UnwritableError, match=r"checkpoint\.pth cannot be written: No space left on device; free"):
            atomic_save({"other": torch.zeros(10_000)}, path)
    assert torch.load(path)["layer7"][0] == 7 and os.listdir(tmp_path) == ["checkpoint.pth"]


def test_an_error_that_passes_before_the_end_still_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library may swallow a failed write and go on: the file would have a hole."""
    write, calls = os.write, []

    def once(handle: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return write(handle, data)

    monkeypatch.setattr(os, "write", once)
    with pytest.raises(UnwritableError), replacing(tmp_path / "a") as file:
        with contextlib.suppress(OSError):
            file.write(b"one")
        file.write(b"two")
    assert os.listdir(tmp_path) == []


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "file").write_text("")
    for path, reason in (
        (tmp_path / "folder.txt", "a folder stands where the file belongs"),
        (tmp_path / "file" / "a.txt", "a file stands where a folder belongs"),
        (tmp_path / "file" / "deep" / "a.txt", "a file stands where a folder belongs"),
        (tmp_path / ("n" * 300), "choose a shorter name"),
    ):
        with pytest.raises(UserError, match=reason):
            atomic_write_text(path, "")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.txt"]


def test_a_long_name_that_the_system_takes_is_taken(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    atomic_write_text(path, "whole")
    assert path.read_text() == "whole"


def test_a_long_name_of_wide_characters_is_taken(tmp_path: Path) -> None:
    path = tmp_path / ("语" * 84)  # 252 bytes
    atomic_write_text(path, "whole")
    assert path.read_text() == "whole"


def test_a_link_stays_and_leads_to_the_new_content(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("there.txt", "to_come.txt"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk" / "there.txt").write_text("old")
    for name in ("there.txt", "to_come.txt"):
        atomic_write_text(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink() and (tmp_path / "disk" / name).read_text() == "new"
    assert sorted(os.listdir(tmp_path / "disk")) == ["there.txt", "to_come.txt"]


def test_no_file_takes_the_place_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        with pytest.raises(UserError, match=f"{name} cannot be written: it is a device or a pipe"):
            atomic_write_text(tmp_path / name, "")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_folder_by_a_name_without_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", "..", "/"):
        with pytest.raises(UserError, match="a folder stands where the file belongs"):
            atomic_write_text(name, "")


def test_an_error_without_number(tmp_path: Path) -> None:
    assert refusal("a.txt", OSError("strange")) == (
        "a.txt cannot be written: strange; check the disk, or write elsewhere."
    )


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a"):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), writing("a"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_an_optional_file_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with optional():
        atomic_write_text(tmp_path, "")
    assert "a folder stands where the file belongs, so move it away. The run goes on without it." in caplog.text


# ------------------------------------------------------------------------------------------------------ sweeping


def hold(path: Path, begun: Event) -> None:
    with replacing(path) as file:
        file.write(b"half")
        begun.set()
        time.sleep(60)


def unfinished(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".tmp"))


def test_the_remains_of_a_killed_writer_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    begun = [fork.Event(), fork.Event()]
    names = ("dead.pth", "alive.pth")
    writers = [fork.Process(target=hold, args=(tmp_path / name, event)) for name, event in zip(names, begun)]
    for writer in writers:
        writer.start()
    assert all(event.wait(60) for event in begun) and len(unfinished(tmp_path)) == 2
    try:
        assert sweep(tmp_path) == 0
        writers[0].kill()
        writers[0].join()
        assert sweep(tmp_path) == 1
        assert [name[:11] for name in unfinished(tmp_path)] == [".alive.pth."]
    finally:
        for writer in writers:
            writer.kill()
            writer.join()


def test_only_what_is_ours_is_swept(tmp_path: Path) -> None:
    ours = [".checkpoint.pth.0a1b2c3d.tmp", ".config.yaml.x_yz0123.tmp"]
    others = ["checkpoint.pth.tmp", ".hidden", "notes.tmp", ".a.tmp", ".swap.ABCDEFGH.tmp"]
    for name in (*ours, *others):
        (tmp_path / name).write_text("")
    (tmp_path / ".folder.01234567.tmp").mkdir()
    (tmp_path / ".link.01234567.tmp").symlink_to(tmp_path / "notes.tmp")
    assert sweep(tmp_path, "config.yaml") == 1
    assert sweep(tmp_path) == 1
    assert sorted(os.listdir(tmp_path)) == sorted([*others, ".folder.01234567.tmp", ".link.01234567.tmp"])
    assert sweep(tmp_path / "missing") == 0


def test_a_new_write_sweeps_its_own_remains(tmp_path: Path) -> None:
    (tmp_path / ".a.npz.01234567.tmp").write_text("half")
    (tmp_path / ".b.npz.01234567.tmp").write_text("half")
    atomic_write_text(tmp_path / "a.npz", "")
    assert sorted(os.listdir(tmp_path)) == [".b.npz.01234567.tmp", "a.npz"]


# ----------------------------------------------------------------------------------------------------- appending


def test_a_piece_that_does_not_fit_leaves_no_part_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AppendFile(tmp_path / "log.txt")
    file.write(b"one\n")
    write = os.write
    with monkeypatch.context() as patch:
        taken: list[int] = []

        def full(handle: int, data: bytes) -> int:
            if taken:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            taken.append(write(handle, data[:2]))
            return taken[0]

        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.write(b"two\n")
    file.write(b"three\n")
    file.close()
    assert (tmp_path / "log.txt").read_bytes() == b"one\nthree\n"


def test_a_sweep_that_comes_before_the_lock_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, swept = writing_module._lock, []

    def late(handle: int) -> bool | None:
        if not swept:
            swept.extend(tmp_path.glob(".*.tmp"))
            swept[0].unlink()
        return lock(handle)

    monkeypatch.setattr(writing_module, "_lock", late)
    atomic_write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole" and len(swept) == 1


def test_an_interruption_in_the_middle_of_a_checkpoint_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch calls back from C++ and says "unexpected pos" otherwise."""
    write, calls = os.write, []

    def interrupted(handle: int, data: bytes) -> int:
        calls.append(handle)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(handle, data)

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_save({"a": torch.zeros(1000), "b": torch.zeros(1000)}, tmp_path / "a.pth")
    assert os.listdir(tmp_path) == []
