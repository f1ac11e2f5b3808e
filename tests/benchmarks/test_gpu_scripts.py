"""The GPU benchmarks at tiny sizes on the CPU, in a Python without yacs and faiss."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ("train_step", "extraction", "cuda_clustering", "negatives", "end_to_end")

RUN_ALL = """
import importlib, sys
sys.path[:0] = [{root!r}, {root!r} + "/benchmarks"]
for name in ("yacs", "faiss"):
    sys.modules[name] = None  # importing it fails
for name in {scripts!r}:
    print("==", name)
    importlib.import_module(name).main(["--smoke", "--device", "cpu", "--json", {folder!r} + "/" + name + ".json"])
"""


def test_every_script_runs_prints_and_writes(tmp_path: Path) -> None:
    code = RUN_ALL.format(root=str(ROOT), scripts=SCRIPTS, folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in SCRIPTS}
    assert all({"command", "date", "machine", "versions", "arguments"} <= record.keys() for record in records.values())
    assert records["train_step"]["loop_of_bare"] > 0
    assert records["cuda_clustering"]["labels"][0]["clusters"] > 1
    assert 0 < records["negatives"]["rows"][1]["gradient_cosine"] <= 1
    assert set(records["extraction"]["precisions"]) == {"off", "bf16"}
    phases = records["end_to_end"]["phases"]
    assert phases["ours"].keys() == phases["reference"].keys()
