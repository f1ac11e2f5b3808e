"""Ctrl-C in the middle of every command of the workbench: status 130, one sentence, nothing half written."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workbench.test_extraction import CONFIG
from unreid.config import load_config
from unreid.engine.cli import main

SMALL = ["--set", "CLUSTER.MIN_SAMPLES", "2", "--set", "CLUSTER.K1", "6"]
ASSIGN = ["assign", "f.npz", "--features", "f.npz", "--identities", "i.csv"]

# words, and the function of the command's middle that is interrupted
MIDDLE = {
    "extract": (["extract", "checkpoint.pth", "crops", "-o", "out.npz"], "unreid.workbench.extraction.write_rows"),
    "cluster": (["cluster", "f.npz", "-o", "out.csv"], "unreid.workbench.grouping.simplified_silhouette"),
    "cluster images": (
        ["cluster", "crops", "--model", "checkpoint.pth", "-o", "out.csv"],
        "unreid.workbench.extraction.extract_table",
    ),
    "assign": ([*ASSIGN, "-o", "out.csv"], "unreid.workbench.assignment.calibrate"),
    "index": (["index", "f.npz", "-o", "out.index"], "unreid.workbench.feature_parquet.as_texts"),
    "search": (["search", "g.index", "f.npz", "-o", "out.csv"], "unreid.workbench.gallery.find"),
    "export": (["export", "checkpoint.pth", "-o", "out.torchscript"], "unreid.workbench.export._compare"),
    "report": (["report", "run", "-o", "out.html"], "unreid.engine.reporting.collect.build_data"),
    "review": (["review", "i.csv", "--csv", "out.csv"], "unreid.review.session.Geometry"),
    "review's page": (["review", "i.csv", "--port", "0"], "unreid.review.ReviewServer.serve_forever"),
}


def interrupted(*words: Any, **more: Any) -> None:
    """What the user's key does to the process."""
    os.kill(os.getpid(), signal.SIGINT)
    raise AssertionError("the signal did not end the command")


@pytest.mark.parametrize("name", MIDDLE)
def test_ctrl_c_ends_every_command_with_130_and_leaves_nothing(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if name in ("index", "search"):
        pytest.importorskip("lancedb")
    words, middle = MIDDLE[name]
    (place / "run").mkdir()
    (place / "run" / "config.yaml").write_text(load_config(None, CONFIG).dump())
    before = sorted(place.rglob("*"))
    monkeypatch.setattr(middle, interrupted)
    capfd.readouterr()
    assert main(words) == 130
    said = capfd.readouterr().err
    assert "Traceback" not in said and "stopped by SIGINT" in said.splitlines()[-1], said
    added = [path.name for path in sorted(place.rglob("*")) if path not in before]
    parts = [found for found in added if found.startswith(("out.npz.parts", "0", "plan.json", ".lock"))]
    review = [found for found in added if "review.sqlite" in found]
    assert not set(added) - set(parts) - set(review), added
    assert bool(parts) == (name == "extract") and bool(review) <= name.startswith("review")


def test_an_extraction_that_ctrl_c_ended_goes_on_where_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from unreid.workbench import extraction

    words = ["extract", "checkpoint.pth", "crops", "-o", "out.npz", "--batch-size", "4", "--part", "4"]
    write, written = extraction._Parts.write, []

    def counted(then: Callable[..., None]) -> Callable[..., None]:
        def instead(self: extraction._Parts, number: int, found: list) -> None:
            if len(written) == 2:
                then()
            written.append(number)
            write(self, number, found)

        return instead

    monkeypatch.setattr(extraction._Parts, "write", counted(interrupted))
    assert main(words) == 130
    assert "stopped by SIGINT; 2 of 6 parts are saved, the same command goes on there" in capfd.readouterr().err
    assert not (place / "out.npz").exists() and written == [0, 1]
    monkeypatch.setattr(extraction._Parts, "write", counted(lambda: None))
    assert main(words) == 0
    assert written == [0, 1, 2, 3, 4, 5] and "8 of 21 images were done before" in capfd.readouterr().out
    whole = ["extract", "checkpoint.pth", "crops", "-o", "whole.npz", "--batch-size", "4", "--part", "4"]
    assert main(whole) == 0
    assert (place / "out.npz").read_bytes() == (place / "whole.npz").read_bytes()


# words of commands that write a file, and the file
WRITERS = {
    "extract": (["extract", "checkpoint.pth", "crops", "-o", "out.npz", "--overwrite"], "out.npz"),
    "extract parquet": (["extract", "checkpoint.pth", "crops", "-o", "out.parquet", "--overwrite"], "out.parquet"),
    "cluster": (["cluster", "f.npz", "-o", "out.csv", "--eps", "0.9", "--overwrite", *SMALL], "out.csv"),
    "assign": ([*ASSIGN, "-o", "out.csv", "--overwrite"], "out.csv"),
    "search": (["search", "f.npz", "f.npz", "-o", "out.csv", "--overwrite"], "out.csv"),
    "export": (["export", "checkpoint.pth", "-o", "out.torchscript", "--overwrite"], "out.torchscript"),
    "report": (["report", "run", "--files-only", "-o", "out.html"], "out.html"),
    "review": (["review", "i.csv", "--answers", "out.csv"], "out.csv"),
}


def killed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The signal that ended a copy of this process, which died at the moment in which its file was to be in place."""
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(os, "replace", lambda *words, **more: os.kill(os.getpid(), signal.SIGKILL))
        try:
            main(words)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("name", WRITERS)
def test_kill_9_leaves_the_old_file_and_the_next_call_writes_the_new_one(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, output = WRITERS[name]
    if output.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (place / "run").mkdir()
    (place / "run" / "config.yaml").write_text(load_config(None, CONFIG).dump())
    (place / output).write_text("of before")
    assert killed(words, monkeypatch) == -signal.SIGKILL
    assert (place / output).read_text() == "of before"
    assert main(words) == 0
    assert (place / output).read_bytes() != b"of before"
    left = [
        path.name for path in place.iterdir() if path.name.startswith(".") or path.name.endswith((".tmp", ".parts"))
    ]
    assert left == []
