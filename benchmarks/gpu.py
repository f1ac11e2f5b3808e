"""What the GPU benchmarks share: options, clocks, the network under test, tables and records."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import torch
from torch import nn

from unreid.models.base import create_backbone
from unreid.models.embedding import EmbeddingModel
from unreid.models.pooling import build_pooling

RESULTS = Path(__file__).parent / "results"


def options(description: str, smoke: dict[str, Any]) -> argparse.ArgumentParser:
    """A parser with the common options; ``--smoke`` replaces the defaults by the sizes in ``smoke``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--json", nargs="?", const="", default=None, help="write the numbers; FILE or benchmarks/results"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes that any CPU can do: is the script whole?")
    parser.set_defaults(smoke_sizes=smoke)
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses; with ``--smoke``, sizes that are not given on the command line are the tiny ones."""
    args = parser.parse_args(argv)
    if args.smoke:
        parser.set_defaults(**args.smoke_sizes)
        args = parser.parse_args(argv)
    del args.smoke_sizes
    return args


def network(name: str, device: torch.device, *, channels_last: bool) -> EmbeddingModel:
    """The image methods' network: backbone, GeM, bottleneck; random weights."""
    model = EmbeddingModel(create_backbone(name), build_pooling("gem")).to(device)
    return model.to(memory_format=torch.channels_last) if channels_last else model


def fused_adam(model: nn.Module) -> torch.optim.Optimizer:
    """Adam as a run on this device uses it."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    fast = {"fused": True} if weights[0].is_cuda else {"foreach": True}
    return torch.optim.Adam(weights, lr=3.5e-4, weight_decay=5e-4, **fast)


def now(device: torch.device) -> float:
    """Seconds, after everything that was queued on the device; with one thread of a CPU those of the processor."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    one = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if one else time.perf_counter()


def seconds(work: Callable[[], Any], device: torch.device, repeats: int = 3, warmup: int = 1) -> float:
    """Median time of a call."""
    times = []
    for _ in range(warmup + repeats):
        start = now(device)
        work()
        times.append(now(device) - start)
    return statistics.median(times[warmup:])


@contextmanager
def peak_memory(device: torch.device) -> Iterator[dict[str, float]]:
    """``mib``: largest device memory above that at entry, 0 without CUDA."""
    found = {"mib": 0.0}
    if device.type != "cuda":
        yield found
        return
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    yield found
    found["mib"] = (torch.cuda.max_memory_allocated(device) - before) / 2**20


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints aligned columns; floats with three digits that matter."""
    cells = [[*header], *([f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        print(row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:])), sep="  ")


def write(args: argparse.Namespace, name: str, content: dict[str, Any]) -> None:
    """Writes ``content`` with machine, versions, date and command, if ``--json`` was given."""
    if args.json is None:
        return
    device = torch.device(args.device)
    path = Path(args.json) if args.json else RESULTS / f"{name}_{device.type}.json"
    record = {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "machine": machine(device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda},
        "commit": commit(),
        "arguments": {key: value for key, value in vars(args).items() if key != "json"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record | content, indent=1, default=str) + "\n")
    print(f"written: {path}")


def machine(device: torch.device) -> str:
    """The device and the host that feeds it."""
    host = f"{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}"
    return f"{torch.cuda.get_device_name(device)}, {host}" if device.type == "cuda" else host


def commit() -> str | None:
    """Of the checkout, where git is at hand."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
