"""How soon a command says no: CPU time of command lines that need neither data nor a network.

    python benchmarks/startup.py [--json FILE]

Every line is a process of its own, as a user starts it; a row is the median of several, and its ratio to
``python -c pass``. For comparison, what importing torch costs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RENDERED = str(ROOT / "configs" / "ClusterContrast_synthetic.yml")
MARKET = str(ROOT / "configs" / "ClusterContrast_market.yml")
COMMANDS: dict[str, list[str]] = {
    "python -c pass": ["-c", "pass"],
    "--help": ["tools/main.py", "--help"],
    "no config": ["tools/main.py"],
    "a missing config file": ["tools/main.py", "--config-file", "nowhere.yml"],
    "a misspelt key": ["tools/main.py", "--config-file", RENDERED, "OPTIM.LRR", "1"],
    "an unknown method": ["tools/main.py", "--config-file", RENDERED, "METHOD.NAME", "x"],
    "a missing checkpoint": ["tools/main.py", "--config-file", RENDERED, "RESUME", "nowhere.pth"],
    "a missing dataset": ["tools/main.py", "--config-file", MARKET, "DATASETS.ROOT", "nowhere"],
    "miner, --help": ["tools/mine_constraints.py", "--help"],
    "miner, missing pseudo labels": ["tools/mine_constraints.py", "--config-file", RENDERED, "--sts-from", "no.npz"],
    "renderer, --help": ["tools/render_dataset.py", "--help"],
    "converter, a missing file": ["tools/convert_checkpoint.py", "--in", "nowhere.pth", "--out", "o.pth"],
    "demo, --help": ["tools/demo.py", "--help"],
    "import torch": ["-c", "import torch"],
}


def cpu_seconds(words: list[str], folder: str) -> float:
    """User and system time of ``python WORDS``, its children included."""
    command = [sys.executable, *(str(ROOT / word) if word.startswith("tools/") else word for word in words)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(rounds: int) -> dict[str, float]:
    """Median CPU seconds of every command; the commands take turns."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for words in COMMANDS.values():
            cpu_seconds(words, folder)  # fills the caches of files and of compiled modules
        for _ in range(rounds):
            for name, words in COMMANDS.items():
                times[name].append(cpu_seconds(words, folder))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes of each command")
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    arguments = parser.parse_args()
    found = measure(arguments.rounds)
    base = found["python -c pass"]
    print("| command | CPU s | ratio to `python -c pass` |\n| --- | --- | --- |")
    for name, seconds in found.items():
        print(f"| {name} | {seconds:.3f} | {seconds / base:.1f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
