"""The GPU check on a CPU: one file whatever fails, and the table that is made of it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).with_name("gpu_check_small.json")
table = importlib.import_module("benchmarks.gpu_table")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu_check")


def test_every_part_of_a_record_has_its_lines(check: Any) -> None:
    record = json.loads(RECORD.read_text())
    assert list(record["parts"]) == ["tests", *check.PARTS]
    assert set(record["parts"]) == set(table.LINES)
    text = table.markdown(record)
    assert "Tiny sizes: no measurement" in text and "**failed**" not in text
    lines = sum(len(lines) for lines in table.LINES.values())
    assert len(text.splitlines()) == 4 + lines and all(row.count("|") == 4 for row in text.splitlines()[2:])


def test_what_failed_stands_in_the_table() -> None:
    record = json.loads(RECORD.read_text())
    record["parts"]["million"] = {"error": "CUDA out of memory | 3 GiB"}
    assert "1,000,000 x 256 |  | **failed**: CUDA out of memory / 3 GiB |" in table.markdown(record)


def test_a_small_record_does_not_go_into_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(table, "DOCS", page)
    with pytest.raises(SystemExit, match="nothing was written"):
        table.main([str(RECORD), "--write-docs"])
    record = json.loads(RECORD.read_text()) | {"small": False, "device": "cuda"}
    real = tmp_path / "real.json"
    real.write_text(json.dumps(record))
    page.write_text("before\n<!-- gpu:begin -->\nold\n<!-- gpu:end -->\nafter\n")
    table.main([str(real), "--write-docs"])
    assert page.read_text().startswith("before\n<!-- gpu:begin -->\n2026") and page.read_text().endswith("after\n")


def test_a_part_that_fails_or_hangs_stops_no_other(check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = {"train": (None, ""), "cluster": (1, "Traceback\nRuntimeError: no kernel image\n"), "graphs": (0, "")}
    order = iter(answers.values())
    monkeypatch.setattr(check, "run_limited", lambda command, seconds: next(order))
    out = tmp_path / "out.json"
    check.main(["--parts", *answers, "--small", "--device", "cpu", "--out", str(out)])
    parts = json.loads(out.read_text())["parts"]
    assert parts["train"]["error"] == "not done within 90 s"
    assert parts["cluster"]["error"] == "RuntimeError: no kernel image"
    assert "error" in parts["graphs"]  # it ended well and wrote nothing


def test_time_that_is_over_is_said(check: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    check.main(["--parts", "train", "memory", "--limit", "0", "--small", "--device", "cpu", "--out", str(out)])
    assert {part["error"] for part in json.loads(out.read_text())["parts"].values()} == {"no time was left"}


def test_a_hanging_process_ends_with_its_children(check: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = f"import time; time.sleep(4); open({str(mark)!r}, 'w')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    status, _ = check.run_limited([sys.executable, "-c", code], 1.0)
    assert status is None
    time.sleep(4)
    assert not mark.exists()


def test_outcomes_of_tests_are_counted(check: Any) -> None:
    case = '<testcase classname="a" name="{}">{}</testcase>'
    ends = ("", '<skipped message="no"/>', '<failure message="1 is not 2"/>', '<error message="no module"/>')
    cases = "".join(case.format(f"t{number}", end) for number, end in enumerate(ends))
    found = check.counted(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert found == {"passed": 1, "skipped": 1, "failed": {"a::t2": "1 is not 2", "a::t3": "no module"}}


@pytest.mark.slow
def test_the_script_writes_every_part(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [str(ROOT / "tools" / "gpu_check.sh"), "--python", sys.executable, "--small", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--out", str(out)], check=True, cwd=tmp_path, env=environment, timeout=600)
    record = json.loads(out.read_text())
    assert [name for name, part in record["parts"].items() if "error" in part] == []
    assert table.markdown(record)
