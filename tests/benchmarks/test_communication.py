"""What two processes send is what docs/distributed.md says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BATCH, DIM, SAMPLES, K1 = 64, 512, 1484, 20  # of configs/ClusterContrast_synthetic.yml and its world


@pytest.mark.slow
def test_volumes_follow_the_formulas(tmp_path: Path) -> None:
    script, result = ROOT / "benchmarks" / "communication.py", tmp_path / "counts.json"
    command = [sys.executable, script, "--json", result, "DATASETS.ROOT", tmp_path / "datasets"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    rows = json.loads(result.read_text())["rows"]
    found = {(row["phase"], row["operation"], row["by"].rpartition(".")[2]): row["bytes"] for row in rows}
    assert found["step", "all-gather", "gather_rows"] == 4 * BATCH * DIM / 2 + 24 * BATCH / 2
    assert found["step", "all-reduce", "backward_and_step"] == 4 * BATCH * DIM
    assert found["round", "all-gather", "__call__"] == 4 * (SAMPLES // 2) * DIM + 16
    assert found["round", "all-gather", "_lists"] == 12 * (SAMPLES // 2) * K1 + 16
    assert found["round", "all-gather", "jaccard_graph"] > 2 * 8 * (SAMPLES // 2)
    step = {key[1:] for key in found if key[0] == "step"}
    assert step == {
        ("all-reduce", "gradients (DistributedDataParallel)"),
        ("all-reduce", "backward_and_step"),
        ("all-gather", "gather_rows"),
        ("all-reduce", "__call__"),
    }
