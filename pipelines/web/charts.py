"""Charts as SVG, drawn on the server: no script, and colours from the page's style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 160
_TOP, _BOTTOM, _LEFT, _WIDEST = 24, 24, 8, 36


@dataclass(frozen=True)
class Bar:
    """One bar of a chart, in the units of its view box, and its title."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class BarChart:
    """Bars from left to right, with the first and the last label and the highest number."""

    bars: tuple[Bar, ...]
    first: str
    last: str
    highest: str


def bar_chart(points: Sequence[tuple[str, float]], unit: str) -> BarChart | None:
    """Return a chart of (label, number) pairs; None without any. Numbers below 0 are drawn as 0."""
    if not points:
        return None
    most = max(max(number for _, number in points), 0.0)
    step = (WIDTH - 2 * _LEFT) / len(points)
    bars = []
    for place, (label, number) in enumerate(points):
        height = (HEIGHT - _TOP - _BOTTOM) * max(number, 0.0) / most if most else 0.0
        bars.append(
            Bar(
                round(_LEFT + place * step, 2),
                round(HEIGHT - _BOTTOM - height, 2),
                round(min(max(step * 0.8, 0.5), _WIDEST), 2),
                round(height, 2),
                f"{label}: {unit} {number:,.10g}",
            )
        )
    return BarChart(tuple(bars), points[0][0], points[-1][0], f"{most:,.10g}")


@dataclass(frozen=True)
class IntervalMark:
    """One row of an interval chart: its place, the ends of the interval, the estimate and the bar, in its units."""

    y: int
    low: float
    high: float
    value: float
    bar: float
    label: str
    title: str
    is_above: bool


@dataclass(frozen=True)
class IntervalChart:
    """Intervals of shares below each other, from 0 to 1, with the bar that each is measured against."""

    marks: tuple[IntervalMark, ...]
    height: int
    left: int
    right: int


_ROW, _NAMES = 18, 150


def interval_chart(rows: Sequence[tuple[str, float, float, float, float]]) -> IntervalChart | None:
    """Return a chart of (label, low, estimate, high, bar) rows; None without any. Shares lie from 0 to 1."""
    if not rows:
        return None

    def x(share: float) -> float:
        return round(_NAMES + (WIDTH - _NAMES - _LEFT) * share, 1)

    marks = tuple(
        IntervalMark(
            _TOP + _ROW * place,
            x(low),
            x(high),
            x(value),
            x(bar),
            label,
            f"{label}: {value:.2f}, from {low:.2f} to {high:.2f}; the bar is {bar:.2f}",
            low >= bar,
        )
        for place, (label, low, value, high, bar) in enumerate(rows)
    )
    return IntervalChart(marks, _TOP + _ROW * len(rows), _NAMES, WIDTH - _LEFT)
