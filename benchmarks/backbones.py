"""Parameters, multiply-accumulates and speed of the backbones, as the table of the model zoo has them.

    python benchmarks/backbones.py                       # the table's own list, 256 x 128, one thread
    python benchmarks/backbones.py timm/convnext_tiny osnet_x0_25 --batch 16 --device cuda

Images a second: extraction (eval mode, no gradient), the better of the two memory formats, median of several batches.
On one thread of a CPU the seconds are those of the processor, so that a busy machine does not count.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import checkout  # noqa: F401
import torch
from torch.utils.flop_counter import FlopCounterMode

from unreid.models.base import create_backbone, find_backbone
from unreid.utils.errors import UserError

LISTED = (
    "resnet_tiny",
    *("osnet_x0_25", "osnet_x0_5", "osnet_x0_75", "osnet_x1_0", "osnet_ibn_x1_0", "osnet_ain_x1_0"),
    *("resnet18", "resnet50", "resnet50_ibn_a", "resnet101"),
    *("vit_small", "vit_base"),
    *("timm/mobilenetv3_small_100", "timm/mobilenetv2_100", "timm/tf_efficientnet_lite0", "timm/efficientnet_b0"),
    *("timm/resnet50", "timm/regnety_008", "timm/repvit_m1", "timm/convnext_atto", "timm/convnext_tiny"),
    *("timm/swin_tiny_patch4_window7_224", "timm/coatnet_pico_rw_224", "timm/mobilevit_xxs"),
    *("timm/vit_tiny_patch16_224", "timm/vit_small_patch14_dinov2@252x126", "timm/vit_base_patch16_clip_224.openai"),
)
"""A name, and the image size where it is not 256 x 128."""
SIZE = (256, 128)


def measure(name: str, *, batch: int, repeats: int, device: str) -> dict[str, Any]:
    """One row of the table."""
    name, _, asked = name.partition("@")
    height, _, width = asked.partition("x")
    size = (int(height), int(width)) if asked else SIZE
    entry = find_backbone(name)
    backbone = create_backbone(name, **entry.accepts({"image_size": size})).to(device).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        maps = backbone(torch.zeros(1, 3, *size, device=device))
    speeds = {form: _speed(backbone, size, batch, repeats, device, form) for form in (False, True)}
    return {
        "name": name,
        "size": size,
        "map": tuple(maps.shape[1:]),
        "parameters": sum(p.numel() for p in backbone.parameters()),
        "macs": counter.get_total_flops() // 2,
        "speed": max(speeds.values()),
        "channels_last": speeds[True] > speeds[False],
        "gain": speeds[True] / speeds[False],
    }


def _speed(
    backbone: torch.nn.Module, size: tuple[int, int], batch: int, repeats: int, device: str, last: bool
) -> float:
    form = torch.channels_last if last else torch.contiguous_format
    backbone.to(memory_format=form)  # type: ignore[call-overload]
    images = torch.rand(batch, 3, *size, device=device).to(memory_format=form)
    seconds = []
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    with torch.inference_mode():
        for _ in range(repeats + 1):
            if device != "cpu":
                torch.cuda.synchronize()
            start = clock()
            backbone(images)
            if device != "cpu":
                torch.cuda.synchronize()
            seconds.append(clock() - start)
    return batch / statistics.median(seconds[1:])  # the first call warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=LISTED, help="backbones, NAME or NAME@HEIGHTxWIDTH")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| backbone | map (C x h x w) | parameters (M) | MACs (G) | images/s | channels last |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.names:
        try:
            row = measure(name, batch=arguments.batch, repeats=arguments.repeats, device=arguments.device)
        except UserError as error:
            print(f"| `{name}` | {error} |")
            continue
        shape = " x ".join(map(str, row["map"])) + (
            "" if row["size"] == SIZE else f" at {row['size'][0]} x {row['size'][1]}"
        )
        print(
            f"| `{row['name']}` | {shape} | {row['parameters'] / 1e6:.2f} | {row['macs'] / 1e9:.2f}"
            f" | {row['speed']:.0f} | {100 * (row['gain'] - 1):+.0f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
