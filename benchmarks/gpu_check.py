"""Everything that only a GPU can tell, in at most eight minutes, into one JSON file.

    tools/gpu_check.sh [--wheels DIR] [--out FILE]      # on a bare machine; calls this
    python benchmarks/gpu_check.py [--out FILE] [--limit 480] [--parts train cluster] [--small]
    python -m benchmarks.gpu_table FILE --write-docs    # the table of docs/benchmarks.md

Every part is a process of its own with a time limit of its own, never more than what is left of ``--limit``; the limits
of the parts grow and shrink with it, for machines that are busy with other work. Its
result, or its error and the end of what it printed, is in the file as soon as it has ended, and nothing that goes
wrong in one keeps another from being tried. Parts come by what they are worth. Nothing but torch is needed; pytest is
asked for only by the tests. ``--small``, the default without CUDA, does the same with tiny sizes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import checkout  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
TAIL = 2000  # characters of a failed part's output that are kept


@dataclass(frozen=True)
class Part:
    """A script, its options on a GPU, and the seconds it may take.

    Attributes:
        script: a file of this folder.
        seconds: limit.
        full, small: options of the real sizes and of the tiny ones.
    """

    script: str
    seconds: float
    full: tuple[str, ...] = ()
    small: tuple[str, ...] = ("--smoke",)


MILLION = ("--once", "--dim", "256", "--hdc-sizes")
EPOCH = ("--steps", "60", "--reference-steps", "5", "--reference-images", "1000")
MEMORY = ("--batch", "32", "--instances", "4", "--dim", "64", "--clusters", "30", "--samples", "400", "--repeats", "2")
PARTS = {
    "train": Part("train_step", 90),
    "cluster": Part("cuda_clustering", 70),
    "graphs": Part("cuda_graphs", 50),
    "million": Part(
        "cuda_clustering",
        100,
        (*MILLION, "--sizes", "1000000", "--knn", "torch_bf16"),
        (*MILLION, "--sizes", "2000", "--knn", "torch"),
    ),
    "extract": Part("extraction", 50),
    "epoch": Part("end_to_end", 150, EPOCH),
    "train_float32": Part("train_step", 60, ("--amp", "off", "--steps", "30", "--warmup", "10")),
    "memory": Part("memory", 30, (), MEMORY),
    "negatives": Part("negatives", 30),
}
TESTS_SECONDS, EIGHT_MINUTES = 90.0, 480.0


def run_limited(command: Sequence[str], seconds: float) -> tuple[int | None, str]:
    """Exit status, None after ``seconds``, and what was printed; ends the whole group of processes."""
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        printed.seek(0)
        return status, printed.read().decode("utf-8", "replace")


def outcome(status: int | None, printed: str, seconds: float) -> dict[str, Any]:
    """``error`` and ``printed`` of a part that did not end well, else nothing."""
    if status == 0:
        return {}
    lines = [line for line in printed.splitlines() if line.strip()]
    last = lines[-1] if lines else f"ended with status {status}"
    return {"error": f"not done within {seconds:.0f} s" if status is None else last, "printed": printed[-TAIL:]}


def run_part(part: Part, args: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What a script wrote, or its error."""
    chosen = [f"benchmarks/{part.script}.py", "--device", args.device, *(part.small if args.small else part.full)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "result.json")
        status, printed = run_limited([sys.executable, *chosen, "--json", str(file)], seconds)
        found = outcome(status, printed, seconds)
        if file.exists() and not found:
            result = json.loads(file.read_text())
            for private in ("command", "arguments"):  # they name files of this machine
                result.pop(private, None)
            found["result"] = result
        elif not found:
            found["error"] = "ended well and wrote no result"
    return {"command": " ".join(["python", *chosen]), **found}


def run_tests(seconds: float) -> dict[str, Any]:
    """How the tests that need CUDA ended, by pytest's own report."""
    if importlib.util.find_spec("pytest") is None:
        return {"error": "pytest is not installed: put its wheels into the folder of --wheels"}
    files = [
        str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py") if "needs_cuda" in file.read_text()
    ]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = ["-m", "cuda", "--continue-on-collection-errors", "-p", "no:cacheprovider", f"--junitxml={report}"]
        status, printed = run_limited([sys.executable, "-m", "pytest", "-q", *options, *sorted(files)], seconds)
        if status is None or not report.exists():
            return outcome(None if status is None else status or 1, printed, seconds)
        return {"result": counted(report.read_text())}


def counted(report: str) -> dict[str, Any]:
    """Numbers of tests by how they ended, and the messages of those that did not pass, of a JUnit report."""
    found: dict[str, Any] = {"passed": 0, "skipped": 0, "failed": {}}
    for case in ElementTree.fromstring(report).iter("testcase"):
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        bad = next((case.find(kind) for kind in ("failure", "error") if case.find(kind) is not None), None)
        if bad is not None:
            found["failed"][name] = (bad.get("message") or bad.text or "")[:300]
        else:
            found["skipped" if case.find("skipped") is not None else "passed"] += 1
    return found


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--small", action="store_true", default=not cuda, help="tiny sizes: is everything whole?")
    parser.add_argument("--parts", nargs="+", choices=["tests", *PARTS], default=["tests", *PARTS])
    parser.add_argument("--limit", type=float, default=EIGHT_MINUTES, help="seconds of everything together")
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"))
    args = parser.parse_args(argv)
    start = time.perf_counter()
    record: dict[str, Any] = {"device": args.device, "small": args.small, "limit": args.limit, "parts": {}}
    for name in args.parts:
        allowed = (TESTS_SECONDS if name == "tests" else PARTS[name].seconds) * max(args.limit / EIGHT_MINUTES, 0.1)
        begin = time.perf_counter()
        left = args.limit - (begin - start)
        seconds = min(allowed, left)
        try:
            if left < 5:
                found: dict[str, Any] = {"error": "no time was left"}
            else:
                found = run_tests(seconds) if name == "tests" else run_part(PARTS[name], args, seconds)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        found["seconds"] = round(time.perf_counter() - begin, 1)
        record["parts"][name] = found
        record["seconds"] = round(time.perf_counter() - start, 1)
        args.out.write_text(json.dumps(record, indent=1) + "\n")
        print(f"{name}: {found.get('error', 'done')} ({found['seconds']} s)", flush=True)
    print(f"written: {args.out}")
    return record


if __name__ == "__main__":
    main()
