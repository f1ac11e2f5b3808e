"""What a training step of every method costs beside Cluster Contrast's: its head alone, and with a ResNet-50.

    python benchmarks/steps.py [--rows ISE "CDSM v5"] [--repeats 15] [--network 16] [--write-docs] [--json FILE]

*Head* is everything behind the backbone's map: pooling, neck, classifiers, losses, backward to the map, and what
follows the optimiser's step (memory, teacher's heads). Each method is built from its own config; all see one batch of
256 maps of 2,048 channels, 16 images of each of 16 of 700 clusters, with one thread. A step is timed right after one
of Cluster Contrast, in turn; times are processor time, the ratio that of the least ones. Products are counted by
operation, 2 per multiplication. *Whole* adds, measured on ``--network`` images of 256 x 128 and scaled to the batch,
forward and backward of a ResNet-50, the forward pass of a teacher where there is one, and Adam over all weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.methods import DOCS, replace_block  # noqa: E402
from benchmarks.proxies import made_up  # noqa: E402
from unreid.config import load_config  # noqa: E402
from unreid.methods import build_method  # noqa: E402
from unreid.models.base import create_backbone  # noqa: E402
from unreid.models.embedding import EmbeddingModel  # noqa: E402
from unreid.structures import Batch, Clustering, Position  # noqa: E402
from unreid.utils import products  # noqa: E402
from unreid.utils.allocator import keep_freed_memory  # noqa: E402

DIM, CAMERAS, BATCH, INSTANCES, PARTS = 2048, 5, 256, 16, 3
SIZE = 17 * 700  # samples of the list
AT = Position(round=6, epoch=20, epochs=50, step=3, iters=400, global_step=8000)
BASE = "Cluster Contrast"


@dataclass(frozen=True)
class Row:
    config: str
    overrides: tuple[Any, ...] = ()
    resets: int = 6  # labellings so far: CAP's losses begin one after the other


ROWS = {
    BASE: Row("ClusterContrast"),
    "Cluster Contrast, hard": Row("ClusterContrast", ("MEMORY.UPDATE", "hard")),
    "SpCL": Row("SpCL"),
    "3C (CHD, CIE)": Row("CCC_HDC"),
    "ISE, hard": Row("ISE"),
    "ISE, all": Row("ISE", ("MEMORY.UPDATE", "all")),
    "CDSM cm": Row("CDSM", ("MEMORY.UPDATE", "cm")),
    "CDSM cm_hard": Row("CDSM", ("MEMORY.UPDATE", "cm_hard")),
    "CDSM cm_hybrid": Row("CDSM", ("MEMORY.UPDATE", "cm_hybrid")),
    "CDSM v2": Row("CDSM", ("MEMORY.UPDATE", "v2")),
    "CDSM v3": Row("CDSM", ("MEMORY.UPDATE", "v3")),
    "CDSM v4": Row("CDSM", ("MEMORY.UPDATE", "v4")),
    "CDSM v5": Row("CDSM"),
    "BUC": Row("BUC"),
    "CAP, first rounds": Row("CAP", resets=1),
    "CAP": Row("CAP"),
    "O2CAP": Row("O2CAP"),
    "PPLR": Row("PPLR"),
    "PPLR, cameras": Row("PPLR", ("METHOD.PPLR.CAMERAS", True)),
    "AuxUSL": Row("AuxUSL"),
}


class Maps(nn.Module):
    """A backbone that has done its work: its images are the maps."""

    feature_dim = DIM

    def forward(self, maps: Tensor) -> Tensor:
        return maps


class World:
    """A labelled list, and one batch of maps from it: (256, 2048, 3, 1)."""

    def __init__(self) -> None:
        self.features, self.camids = made_up(SIZE, DIM, CAMERAS)
        latent = torch.Generator().manual_seed(1)
        self.labels = torch.arange(SIZE) % (SIZE // 17)
        centres = torch.randn(SIZE // 17, 64, generator=latent)
        code = centres[self.labels] + 0.5 * torch.randn(SIZE, 64, generator=latent)
        self.features = F.normalize(code @ torch.randn(64, DIM, generator=latent), dim=1)
        classes = torch.randperm(SIZE // 17, generator=latent)[: BATCH // INSTANCES]
        self.indices = (classes[:, None] + SIZE // 17 * torch.arange(INSTANCES)).flatten()
        maps = self.features[self.indices] + 0.1 * torch.randn(BATCH, DIM, generator=latent) / DIM**0.5
        self.maps = maps[:, :, None, None].repeat(1, 1, PARTS, 1)

    def clustering(self) -> Clustering:
        reliable = torch.rand(SIZE, generator=torch.Generator().manual_seed(2)) < 0.9
        return Clustering(
            self.labels,
            SIZE // 17,
            extras={"reliable": reliable},
            features=self.features,
            part_features=self.features[:, None].expand(-1, PARTS, -1),
        )


def head(row: Row, world: World) -> tuple[Any, Callable[[], None]]:
    """The method and one step of it."""
    sizes = ("DATALOADER.TRAIN_BATCH_SIZE", BATCH, "DATALOADER.NUM_INSTANCE", INSTANCES, "MODEL.BN_CHUNKS", 1)
    cfg = load_config(ROOT / "configs" / f"{row.config}_market.yml", [*sizes, "MODEL.EMBED_DIM", 0, *row.overrides])
    classes = SIZE if cfg.MODEL.CLASSIFIER else 0
    model = EmbeddingModel(Maps(), num_classes=classes, parts=cfg.MODEL.PARTS).train()
    method = build_method(cfg, model=model, camids=world.camids)
    lists = torch.randint(SIZE, (SIZE, 20), generator=torch.Generator().manual_seed(3))
    method.graph_builder = SimpleNamespace(search=lambda features, k: (None, lists))  # for PPLR's agreements
    method.plan(world.clustering(), AT.round)
    if hasattr(method, "memory"):
        method.memory.resets = row.resets
    method.train_mode()
    maps = world.maps.clone().requires_grad_()
    batch = Batch([maps], world.labels[world.indices], world.camids[world.indices], world.indices)

    def step() -> None:
        maps.grad = None
        model.zero_grad()
        output = method.step(batch, AT)
        torch.stack(list(output.losses.values())).sum().backward()
        method.after_step(output.cache, AT)

    return method, step


def spent(work: Callable[[], Any]) -> float:
    """Processor milliseconds of a call."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def counted(step: Callable[[], None]) -> float:
    """GFLOP of the products of a step."""
    chosen = products.onednn_is_faster
    products.onednn_is_faster = lambda: False  # type: ignore[assignment]  # PyTorch counts its own operators only
    try:
        with FlopCounterMode(display=False) as counter:
            step()
    finally:
        products.onednn_is_faster = chosen
    return counter.get_total_flops() / 1e9


def network(images: int, repeats: int = 2) -> dict[str, float]:
    """Milliseconds of a ResNet-50's parts for a batch of 256, and of Adam for a million weights."""
    model = EmbeddingModel(create_backbone("resnet50", last_stride=1)).train()
    batch = torch.randn(images, 3, 256, 128)

    def train() -> None:
        model.zero_grad()
        model(batch).embedding.sum().backward()

    def least(work: Callable[[], Any]) -> float:
        work()
        return min(spent(work) for _ in range(repeats))

    found = {"train_ms": least(train) * BATCH / images}
    with torch.no_grad():
        found["forward_ms"] = least(partial(model, batch)) * BATCH / images
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    millions = sum(weight.numel() for weight in weights) / 1e6
    found["adam_ms_per_million"] = least(torch.optim.Adam(weights, foreach=True).step) / millions
    return found | {"millions": millions}


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    world, found = World(), {}
    rest = network(args.network) if args.network else {}
    _, base = head(ROWS[BASE], world)
    for name in dict.fromkeys([BASE, *args.rows]):
        method, step = head(ROWS[name], world)
        base(), step(), step()
        pairs = [(spent(base), spent(step)) for _ in range(args.repeats)]
        found[name] = row = {
            "gflop": counted(step),
            "ms": min(mine for _, mine in pairs),
            "ratio": min(mine for _, mine in pairs) / min(other for other, _ in pairs),
        }
        if rest:
            own = sum(weight.numel() for weight in method.model.parameters() if weight.requires_grad) / 1e6
            row["whole_ms"] = row["ms"] + rest["train_ms"] + rest["adam_ms_per_million"] * (rest["millions"] + own)
            row["whole_ms"] += rest["forward_ms"] if method.teacher is not None else 0.0
        print(name, {key: round(value, 2) for key, value in row.items()}, flush=True)
    return found


def markdown(rows: dict[str, dict[str, float]]) -> str:
    whole = "whole_ms" in rows[BASE]
    lines = ["| | products, GFLOP | of CC | head, ms | of CC |" + " whole step, s | of CC |" * whole]
    lines.append("| --- " * (5 + 2 * whole) + "|")
    for name, row in rows.items():
        cells = f"| {name} | {row['gflop']:.2f} | {row['gflop'] / rows[BASE]['gflop']:.2f} "
        cells += f"| {row['ms']:.1f} | {row['ratio']:.2f} |"
        if whole:
            cells += f" {row['whole_ms'] / 1e3:.1f} | {row['whole_ms'] / rows[BASE]['whole_ms']:.2f} |"
        lines.append(cells)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--network", type=int, default=16, help="images that go through a ResNet-50; 0: heads alone")
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = measure(args)
    print(markdown(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    if args.write_docs:
        DOCS.write_text(replace_block(DOCS.read_text(), "steps", markdown(rows)))


if __name__ == "__main__":
    main()
