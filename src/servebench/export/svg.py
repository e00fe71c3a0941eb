"""Small charts as SVG text: lines, steps and dots over linear or logarithmic axes, styled by class names."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

WIDTH, HEIGHT = 560.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, WIDTH - 10.0, 10.0, HEIGHT - 34.0
COLOURS = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One series. dots: points, no line between; steps: a value holds until the next; broad: under others."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int
    dots: bool = False
    steps: bool = False
    broad: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """What one figure shows. log_x, log_y: xs or ys are decimal logarithms already. shade: an x range to
    grey out.

    limit_x, limit_y: a dashed line. marks: xs of small crosses at the top edge (failures).
    """

    key: str
    title: str
    x_name: str
    y_name: str
    lines: Sequence[Line]
    caption: str = ""
    log_x: bool = False
    log_y: bool = False
    y_top: float | None = None
    shade: tuple[float, float] | None = None
    limit_x: float | None = None
    limit_y: float | None = None
    marks: Sequence[float] = field(default_factory=tuple)

    def x_range(self) -> tuple[float, float]:
        xs = (
            [x for line in self.lines if len(line.xs) for x in (line.xs[0], line.xs[-1])]
            if self.lines
            else []
        )
        xs += [value for value in (self.limit_x,) if value is not None]
        low, high = (min(xs), max(xs)) if xs else (0.0, 1.0)
        if self.log_x:
            return _half_decades(low, high)
        return min(low, 0.0), high if high > min(low, 0.0) else min(low, 0.0) + 1

    def y_range(self) -> tuple[float, float]:
        if self.y_top is not None:
            return 0.0, self.y_top
        if self.log_y:
            ys = [y for line in self.lines for y in line.ys] or [0.0]
            return _half_decades(min(ys), max(ys))
        highest = max((max(line.ys) for line in self.lines if len(line.ys)), default=0.0)
        if self.limit_y is not None and self.limit_y < 3 * highest:
            highest = max(highest, self.limit_y)
        return 0.0, 1.05 * highest if highest > 0 else 1.0


def _half_decades(low: float, high: float) -> tuple[float, float]:
    start = math.floor(low * 2) / 2
    return start, max(math.ceil(high * 2) / 2, start + 0.5)


def svg(chart: Chart) -> str:
    """The <svg> element; readable by name through its <title>."""
    x0, x1 = chart.x_range()
    y0, y1 = chart.y_range()

    def x_at(x: float) -> float:
        return LEFT + (x - x0) / (x1 - x0) * (RIGHT - LEFT)

    def y_at(y: float) -> float:
        return BOTTOM - (min(y, y1) - y0) / (y1 - y0) * (BOTTOM - TOP)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img">'
        f"<title>{escape(chart.title)}</title>"
    ]
    if chart.shade is not None and chart.shade[1] > chart.shade[0]:
        left, right = x_at(max(chart.shade[0], x0)), x_at(min(chart.shade[1], x1))
        parts.append(
            f'<rect class="shade" x="{left:.1f}" y="{TOP:g}" width="{max(right - left, 0):.1f}" '
            f'height="{BOTTOM - TOP:g}"/>'
        )
    parts += _axes(chart, x_at, y_at)
    parts += [_drawn(line, x_at, y_at) for line in chart.lines if len(line.xs)]
    if chart.limit_x is not None:
        at = f"{x_at(chart.limit_x):.1f}"
        parts.append(f'<line class="limit" x1="{at}" x2="{at}" y1="{TOP:g}" y2="{BOTTOM:g}"/>')
    if chart.limit_y is not None and chart.limit_y <= y1:
        at = f"{y_at(chart.limit_y):.1f}"
        parts.append(f'<line class="limit" x1="{LEFT:g}" x2="{RIGHT:g}" y1="{at}" y2="{at}"/>')
    if chart.marks:
        crosses = "".join(f"M{x_at(x) - 3:.1f} {TOP:g}l6 6m0 -6l-6 6" for x in chart.marks)
        parts.append(f'<path class="failed" d="{crosses}"/>')
    parts.append(f'<line class="cursor" x1="{LEFT:g}" x2="{LEFT:g}" y1="{TOP:g}" y2="{BOTTOM:g}"/></svg>')
    return "".join(parts)


def readout(chart: Chart) -> dict[str, Any]:
    """What the page's script needs to read values under the pointer."""
    x0, x1 = chart.x_range()
    return {
        "width": WIDTH, "left": LEFT, "right": RIGHT, "x0": x0, "x1": x1, "log": chart.log_x,
        "logy": chart.log_y, "xname": chart.x_name,
        "lines": [
            [line.name, [float(f"{x:.6g}") for x in line.xs], [float(f"{y:.4g}") for y in line.ys]]
            for line in chart.lines
            if not line.dots
        ],
    }  # fmt: skip


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) from low to high."""
    span = high - low
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= next((factor for factor in (1, 2, 5) if span / (step * factor) <= count), 10)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(chart: Chart, x_at: Callable[[float], float], y_at: Callable[[float], float]) -> list[str]:
    parts = []
    for y, label in _ticks_of(*chart.y_range(), log=chart.log_y, count=5):
        at = y_at(y)
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{RIGHT:g}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6:g}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for x, label in _ticks_of(*chart.x_range(), log=chart.log_x, count=7):
        at = x_at(x)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{BOTTOM:g}" y2="{BOTTOM + 4:g}"/>')
        parts.append(f'<text x="{at:.1f}" y="{BOTTOM + 16:g}" text-anchor="middle">{label}</text>')
    parts.append(f'<line class="axis" x1="{LEFT:g}" x2="{RIGHT:g}" y1="{BOTTOM:g}" y2="{BOTTOM:g}"/>')
    middle = (LEFT + RIGHT) / 2
    x_name, y_name = escape(chart.x_name), escape(chart.y_name)
    parts.append(f'<text x="{middle:g}" y="{HEIGHT - 4:g}" text-anchor="middle">{x_name}</text>')
    parts.append(
        f'<text transform="translate(11 {(TOP + BOTTOM) / 2:g}) rotate(-90)" text-anchor="middle">'
        f"{y_name}</text>"
    )
    return parts


def _ticks_of(low: float, high: float, *, log: bool, count: int) -> list[tuple[float, str]]:
    if not log:
        return [(value, _tick(value)) for value in ticks(low, high, count)]
    found = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 2, 5):
            value = power + math.log10(factor)
            if low - 1e-9 <= value <= high + 1e-9:
                found.append((value, _tick(factor * 10.0**power)))
    return found


def _drawn(line: Line, x_at: Callable[[float], float], y_at: Callable[[float], float]) -> str:
    colour = f"s{line.colour % COLOURS}"
    points = [(x_at(x), y_at(y)) for x, y in zip(line.xs, line.ys, strict=True)]
    if line.dots:
        circles = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.8"/>' for x, y in points)
        return f'<g class="dots {colour}">{circles}</g>'
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    path += "".join(f"H{x:.1f}V{y:.1f}" if line.steps else f"L{x:.1f} {y:.1f}" for x, y in points[1:])
    broad = " broad" if line.broad else ""
    return f'<path class="line {colour}{broad}" d="{path}"/>'


def _tick(value: float) -> str:
    return "0" if abs(value) < 1e-12 else f"{value:,.6g}"
