"""What is put in comes out, reduced, in every writer; a resumed file has no row twice."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unreid.utils import phases
from unreid.utils.errors import UserError
from unreid.utils.events import ConsoleWriter, Events, EventStorage, JsonWriter, TensorBoardWriter


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6), st.booleans())
def test_reductions(values: list[float], as_tensor: bool) -> None:
    storage = EventStorage()
    for reduce in ("mean", "last", "sum", "max"):
        for value in values:
            storage.put_scalar(reduce, torch.tensor(value) if as_tensor else value, reduce)
    got = storage.write().scalars
    expected = {"mean": np.mean(values), "last": values[-1], "sum": np.sum(values), "max": max(values)}
    for reduce, value in expected.items():
        assert got[reduce] == pytest.approx(float(value), rel=1e-4, abs=1e-2)


def test_tensors_are_read_only_when_written(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    for name in ("item", "tolist", "__float__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, _f=original, _n=name: (reads.append(_n), _f(self))[1], raising=True
        )
    storage = EventStorage()
    loss = torch.ones(1, requires_grad=True) * 3
    for _ in range(5):
        storage.put_scalars({"memory": loss, "id": torch.tensor(1.0, dtype=torch.bfloat16)}, prefix="loss/")
    assert reads == []
    assert storage.write().scalars == {"loss/memory": 3.0, "loss/id": 1.0}
    assert reads == ["tolist"]
    assert storage.latest == {"loss/memory": 3.0, "loss/id": 1.0}


def test_mixed_numbers_and_tensors() -> None:
    storage = EventStorage()
    storage.put_scalar("a", 1)
    storage.put_scalar("a", torch.tensor(2.0))
    storage.put_scalar("b", 5, "max")
    storage.put_scalar("b", torch.tensor(2), "max")
    storage.put_scalar("b", 7, "max")
    assert storage.write().scalars == {"a": 1.5, "b": 7.0}
    assert storage.write().scalars == {}


def test_misuse() -> None:
    storage = EventStorage()
    with pytest.raises(ValueError, match="reduce must be"):
        storage.put_scalar("a", 1, "median")
    with pytest.raises(ValueError, match=r"an image is \(H, W, 3\)"):
        storage.put_image("a", np.zeros((3, 4, 5), np.uint8))


def test_json_rows(tmp_path: Path) -> None:
    storage = EventStorage([JsonWriter(tmp_path / "run")])
    storage.step = 3
    storage.put_scalar("loss", 1.5)
    storage.put_scalar("bad", float("nan"))
    storage.put_image("picture", np.zeros((4, 4, 3), np.uint8))
    storage.write()
    storage.put_image("picture", np.zeros((4, 4, 3), np.uint8))
    storage.close()
    (row,) = rows(tmp_path / "run")
    assert row.pop("time") > 1e9
    assert row == {"step": 3, "loss": 1.5, "bad": None}


def test_a_resumed_file_goes_on_where_the_run_does(tmp_path: Path) -> None:
    def write(writer: JsonWriter, *steps: int) -> None:
        for step in steps:
            writer.write(Events(step, {"x": float(step)}))
        writer.close()

    write(JsonWriter(tmp_path), 1, 2, 3, 4)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "x"')  # killed in the middle of a line
    write(JsonWriter(tmp_path, resume_step=2), 3, 4, 5)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5]
    write(JsonWriter(tmp_path, resume_step=0), 1)
    assert [row["step"] for row in rows(tmp_path)] == [1]
    write(JsonWriter(tmp_path), 9)
    assert [row["step"] for row in rows(tmp_path)] == [9]
    write(JsonWriter(tmp_path / "new", resume_step=7), 8)
    assert [row["step"] for row in rows(tmp_path / "new")] == [8]


def test_console_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="unreid"):
        ConsoleWriter().write(Events(20, {"loss": 1.23456, "phase/cluster/seconds": 2.0}))
        ConsoleWriter().write(Events(21, {"phase/cluster/seconds": 2.0}))
    assert [record.getMessage() for record in caplog.records] == ["step 20  loss 1.235"]


def test_tensorboard_gets_scalars_and_images(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    storage = EventStorage([TensorBoardWriter(tmp_path)], step=4)
    storage.put_scalar("loss", torch.tensor(2.0))
    storage.put_image("clusters", torch.zeros(8, 6, 3, dtype=torch.uint8))
    storage.close()
    seen = EventAccumulator(str(tmp_path))
    seen.Reload()
    (scalar,) = seen.Scalars("loss")
    assert (scalar.step, scalar.value) == (4, 2.0)
    assert (seen.Images("clusters")[0].height, seen.Images("clusters")[0].width) == (8, 6)


def test_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"needs the package tensorboard.*LOG\.TENSORBOARD False"):
        TensorBoardWriter(tmp_path)


def test_phases_are_noted_even_when_they_fail(tmp_path: Path) -> None:
    storage = EventStorage([JsonWriter(tmp_path)])
    with pytest.raises(RuntimeError), storage.phase("cluster"):
        raise RuntimeError
    with storage.phase("cluster"):
        pass
    storage.close()
    (row,) = rows(tmp_path)
    assert row["phase/cluster/seconds"] >= 0 and row["phase/cluster/peak_rss_mib"] > 10
    assert storage.phases.totals["cluster"].count == 2


def test_an_interruption_before_a_phase_begins_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is waited for answers with an error of its own, or a signal comes meanwhile."""
    storage = EventStorage()
    with storage.phase("train"), monkeypatch.context() as patch:
        patch.setattr(phases, "_wait_for_device", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt), storage.phase("cluster"):
            raise AssertionError("never begun")
    assert storage.write().scalars["phase/cluster/seconds"] == 0
    assert storage.phases.totals.keys() == {"train"} and storage.phases._open == []
