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
