"""What the processes of a run send each other, counted in a short run of two processes on the CPU.

    python benchmarks/communication.py [--config-file F] [--processes 2] [--json FILE] [KEY VALUE ...]

Counted is what one process puts into a collective operation (of an object, its pickled size); it depends on shapes, not
on the device. What travels follows from the operation: in a ring of W processes an all-gather of p bytes a process
brings (W - 1) p to each, an all-reduce 2 (W - 1) / W p, a broadcast p.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from unreid.config import load_config  # noqa: E402
from unreid.engine import build  # noqa: E402
from unreid.engine.hooks import Hook  # noqa: E402
from unreid.engine.run import run  # noqa: E402

CONFIG = ROOT / "configs" / "ClusterContrast_synthetic.yml"
SHORT = [
    *("OPTIM.EPOCHS", "2", "DATALOADER.ITERS", "10", "WARMUP.EPOCHS", "0"),
    *("PRINT_PERIOD", "10", "LOG.PROGRESS", "False", "LOG.TENSORBOARD", "False"),
]
PHASES = {"_run_step": "step", "_start_round": "round", "evaluate": "evaluation"}
TRANSPORT = ("unreid.utils.distributed", "unreid.neighbors.share")

all_reduce = dist.all_reduce  # not counted
counts: Counter[tuple[str, str, str]] = Counter()
volumes: Counter[tuple[str, str, str]] = Counter()


def place() -> tuple[str, str]:
    """The phase of the run, and the function that asked for the operation under way."""
    frame, phase, asked = sys._getframe(1), "", ""
    while frame is not None and not phase:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("unreid.") and module not in TRANSPORT:
            asked = asked or f"{module.removeprefix('unreid.')}.{frame.f_code.co_qualname}"
            phase = PHASES.get(frame.f_code.co_name, "")
        frame = frame.f_back  # type: ignore[assignment]
    return phase or "other", asked


def note(operation: str, size: int, asked: str = "") -> None:
    phase, found = place()
    counts[phase, operation, asked or found] += 1
    volumes[phase, operation, asked or found] += size


def counted(operation: str, original: Callable[..., Any], size: Callable[..., int]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        note(operation, size(*args))
        return original(*args, **kwargs)

    return call


def nbytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def pickled(obj: Any) -> int:
    return len(pickle.dumps(obj))


class Watch(Hook):
    """Counts steps and rounds, and the gradients, which DistributedDataParallel sends by itself."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()

    def before_train(self) -> None:
        self.trainer.method.student.register_comm_hook(None, self._send)

    def after_label(self, clustering: Any, plan: Any) -> None:
        self.events["round"] += 1

    def after_step(self, output: Any) -> None:
        self.events["step"] += 1

    def _send(self, state, bucket):  # torch reads the annotations, if any, and does not know strings
        flat = bucket.buffer().div_(dist.get_world_size())
        note("all-reduce", nbytes(flat), "gradients (DistributedDataParallel)")
        return all_reduce(flat, async_op=True).get_future().then(lambda done: done.value()[0])


def child(args: argparse.Namespace) -> None:
    """One of the processes: the run with counters in place."""
    dist.all_gather = counted("all-gather", dist.all_gather, lambda parts, tensor: nbytes(tensor))
    dist.all_reduce = counted("all-reduce", dist.all_reduce, lambda tensor: nbytes(tensor))
    dist.broadcast = counted("broadcast", dist.broadcast, lambda tensor: nbytes(tensor))
    dist.broadcast_object_list = counted("broadcast", dist.broadcast_object_list, lambda box: pickled(box[0]))
    dist.all_gather_object = counted("all-gather", dist.all_gather_object, lambda found, obj: pickled(obj))
    original, watch = build.build_hooks, Watch()
    build.build_hooks = lambda *arguments: [*original(*arguments), watch]
    results = run(load_config(args.config_file, [*SHORT, *args.overrides]))
    events = {**watch.events, "evaluation": len({results["last"]["epoch"], 0})}  # before and after training
    if os.environ["RANK"] == "0":
        rows = [
            {
                "phase": phase,
                "operation": operation,
                "by": by,
                "calls": calls / events.get(phase, 1),
                "bytes": volumes[phase, operation, by] / events.get(phase, 1),
            }
            for (phase, operation, by), calls in counts.items()
        ]
        args.child.write_text(json.dumps(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config-file", type=Path, default=CONFIG)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "counts.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={args.processes}"]
        command += [__file__, "--config-file", args.config_file, "--child", result]
        command += ["OUTPUT_DIR", f"{folder}/run", *args.overrides]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run([str(part) for part in command], check=True, env=environment, stdout=sys.stderr)
        rows = json.loads(result.read_text())
    rows.sort(key=lambda row: (row["phase"], -row["bytes"]))
    print(f"{'in a':12}{'operation':12}{'calls':>6}{'bytes':>14}  asked for by")
    for row in rows:
        print(f"{row['phase']:12}{row['operation']:12}{row['calls']:6.1f}{row['bytes']:14,.0f}  {row['by']}")
    if args.json:
        args.json.write_text(json.dumps({"processes": args.processes, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
