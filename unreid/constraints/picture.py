"""The learnt walking times between cameras as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unreid.constraints.travel import TravelTable
from unreid.utils.writing import write_figure


def draw_travel(path: Path, travel: TravelTable, examples: np.ndarray | None, frame_rate: float | None) -> None:
    """One panel per known camera pair (a <= b): plausibility over the lag, with the number of examples behind it.

    Args:
        examples: int64 (A, A), or None where the table was given.
        frame_rate: frames per second; None: the axis shows frames.
    """
    from matplotlib.figure import Figure

    count = travel.cameras
    unit = 1.0 if frame_rate is None else frame_rate
    lags = (np.arange(travel.table.shape[2]) - travel.origin) * travel.bin / unit
    figure = Figure(figsize=(2.0 * count, 1.6 * count))
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.06, top=0.97, hspace=0.35, wspace=0.1)
    for a in range(count):
        for b in range(a, count):
            if not np.ptp(travel.table[a, b]):
                continue  # unknown: one value for every lag
            panel = figure.add_subplot(count, count, a * count + b + 1)
            panel.plot(lags, travel.table[a, b], linewidth=0.8)
            panel.set(ylim=(0, 1.05), yticks=[0, 1])
            panel.tick_params(labelsize=5, labelleft=b in (a, a + 1))
            panel.locator_params(axis="x", nbins=4)
            found = "" if examples is None else f", n = {int(examples[a, b])}"
            panel.set_title(f"{a + 1} to {b + 1}{found}", fontsize=6, pad=2)
    time = "frames" if frame_rate is None else "seconds"
    figure.supxlabel(f"lag in {time} (negative: the second camera first)", fontsize=8)
    figure.supylabel("plausibility p", fontsize=8)
    write_figure(path, figure)
