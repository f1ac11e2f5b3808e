"""Line charts as inline SVG: the colours of Okabe and Ito, each with a shape and a dash of its own, and the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unreid.report.markup import Html, joined, table, tag

WIDTH, HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 30, 40
_DASHES = ("", "7 4", "2 4", "9 3 2 3", "12 5", "4 2")
_SHAPES = (  # around (0, 0)
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "M-3.6 -3.6H3.6V3.6H-3.6Z",
    "M0 -4.8L4.6 3.6H-4.6Z",
    "M0 -5L5 0L0 5L-5 0Z",
    "M0 4.8L4.6 -3.6H-4.6Z",
    "M-1.5 -5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5V-1.5H-1.5Z",
)


@dataclass(frozen=True)
class Series:
    """A line: its name and its points; ``nan`` breaks are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]

    @property
    def points(self) -> list[tuple[float, float]]:
        return [(a, b) for a, b in zip(self.x, self.y) if math.isfinite(a) and math.isfinite(b)]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    mark: tuple[float, str] | None = None,
) -> Html:
    """A figure with a legend and, folded away, a table of the numbers.

    Args:
        y_range: lowest and highest value of the axis; None: from 0 to what there is.
        mark: a place on the x axis and its name.
    """
    series = [one for one in series if one.points]
    if not series:
        return tag("p", f"{title}: no numbers.", class_="note")
    xs = [x for one in series for x, _ in one.points] + ([mark[0]] if mark else [])
    ys = [y for one in series for _, y in one.points]
    x_ticks = ticks(min(xs), max(xs), whole=all(float(x).is_integer() for x in xs))
    low, high = y_range or (min(0.0, min(ys)), max(ys) or 1.0)
    y_ticks = ticks(low, high)
    x_low, x_high = min(min(xs), x_ticks[0]), max(max(xs), x_ticks[-1])
    low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1)
        up = (y - low) / ((high - low) or 1)
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    drawn = [_axes(place, x_ticks, y_ticks, (x_low, x_high), (low, high), x_label, y_label)]
    if mark:
        x, bottom = place(mark[0], low)
        drawn.append(tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=_TOP, y2=f"{bottom:.1f}", class_="mark"))
        side = "end" if x > WIDTH * 0.7 else "start"
        shift = -5 if side == "end" else 5
        drawn.append(tag("text", mark[1], x=f"{x + shift:.1f}", y=_TOP + 9, class_="tick", text_anchor=side))
    for number, one in enumerate(series):
        drawn.append(_line(number, [place(x, y) for x, y in one.points], one))
    words = "; ".join(f"{one.name} from {_short(one.points[0][1])} to {_short(one.points[-1][1])}" for one in series)
    picture = tag(
        "svg",
        tag("title", f"{title}: {words}"),
        drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="chart",
    )
    legend = tag("ul", [tag("li", key(number), " ", one.name) for number, one in enumerate(series)], class_="legend")
    return tag("figure", tag("figcaption", title), picture, legend, _numbers(title, series, x_label), class_="plot")


def key(number: int) -> Html:
    """The sign of a series in a legend."""
    stroke = tag("path", d="M0 7H26", class_="line", stroke_dasharray=_dash(number))
    shape = tag("path", d=_SHAPES[number % len(_SHAPES)], transform="translate(13 7)", class_="shape")
    return tag("svg", stroke, shape, viewBox="0 0 26 14", class_=f"key c{number % 6}", aria_hidden="true")


def shapes() -> Html:
    """The shapes as symbols that other drawings use: ``#shape0`` ..."""
    return joined([tag("path", d=shape, id=f"shape{number}") for number, shape in enumerate(_SHAPES)])


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers that cover a range.

    Example:
        >>> ticks(0, 93), ticks(0, 3, whole=True)
        ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [0.0, 1.0, 2.0, 3.0])
    """
    span = (high - low) or 1.0
    rough = span / 5
    size = 10 ** math.floor(math.log10(rough))
    step = next(step * size for step in (1, 2, 5, 10) if step * size >= rough * 0.999)
    if whole:
        step = max(1.0, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _axes(
    place: Callable[[float, float], tuple[float, float]],
    x_ticks: list[float],
    y_ticks: list[float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_label: str,
    y_label: str,
) -> Html:
    parts = []
    for value in y_ticks:
        (left, y), (right, _) = place(x_range[0], value), place(x_range[1], value)
        parts.append(tag("line", x1=f"{left:.1f}", x2=f"{right:.1f}", y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
        parts.append(
            tag("text", _short(value), x=f"{left - 6:.1f}", y=f"{y + 4:.1f}", class_="tick", text_anchor="end")
        )
    for value in x_ticks:
        x, y = place(value, y_range[0])
        at = {"x": f"{x:.1f}", "y": f"{y + 16:.1f}"}
        parts.append(tag("text", _short(value), **at, class_="tick", text_anchor="middle"))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(tag("text", x_label, x=middle, y=HEIGHT - 5, class_="axis", text_anchor="middle"))
    parts.append(tag("text", y_label, x=2, y=14, class_="axis"))
    return joined(parts)


def _line(number: int, points: list[tuple[float, float]], one: Series) -> Html:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    every = max(1, len(points) // 40)
    shown = [
        tag(
            "path",
            tag("title", f"{one.name}, {_short(value[0])}: {_short(value[1])}"),
            d=_SHAPES[number % len(_SHAPES)],
            transform=f"translate({x:.1f} {y:.1f})",
            class_="shape",
        )
        for place, ((x, y), value) in enumerate(zip(points, one.points))
        if place % every == 0 or place == len(points) - 1
    ]
    line = tag("path", d=path, class_="line", stroke_dasharray=_dash(number))
    return tag("g", line, shown, class_=f"c{number % 6}")


def _numbers(title: str, series: Sequence[Series], x_label: str) -> Html:
    at = sorted({x for one in series for x, _ in one.points})
    known = [dict(one.points) for one in series]
    rows = [[_short(x), *(_short(values[x]) if x in values else "" for values in known)] for x in at]
    inside = table([x_label, *(one.name for one in series)], rows, caption=title)
    return tag("details", tag("summary", "The numbers"), inside)


def _dash(number: int) -> str | None:
    return _DASHES[number % len(_DASHES)] or None


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
