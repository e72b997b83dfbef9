"""Plots as shapes with places. The page draws them as SVG and Dagster's metadata as PNG, so that both show the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from assets.transforms.marts.comparison import BY_MODEL

WIDTH = 460
_HEIGHT, _TOP, _BOTTOM, _LEFT, _RIGHT = 240, 14, 34, 40, 12
_ROW, _NAMES, _MOST_LETTERS, _MOST_LETTERS_IN_PLOT, _BETWEEN = 18, 150, 20, 32, 14


@dataclass(frozen=True)
class Line:
    """A line. ``kind`` is its class in the style sheet: axis, limit, range, or range above."""

    tag: ClassVar[str] = "line"
    x1: float
    y1: float
    x2: float
    y2: float
    kind: str


@dataclass(frozen=True)
class Dot:
    """A dot: dot, or dot above."""

    tag: ClassVar[str] = "dot"
    x: float
    y: float
    kind: str


@dataclass(frozen=True)
class Words:
    """A text at its base line. ``anchor``: start, middle or end."""

    tag: ClassVar[str] = "text"
    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Mark:
    """Shapes that belong together, and what they say."""

    title: str
    shapes: tuple[Line | Dot | Words, ...]


@dataclass(frozen=True)
class Plot:
    """A picture of ``height`` by WIDTH, in its own units."""

    title: str
    height: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class _Frame:
    """Axes from 0 to ``most_x`` and from 0 to ``most_y``."""

    most_x: float
    most_y: float
    name_x: str
    name_y: str

    def x(self, value: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * value / self.most_x, 1)

    def y(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self.most_y, 1)

    def axes(self) -> Mark:
        """Return both axes with their ends and names."""
        bottom, right = self.y(0), self.x(self.most_x)
        shapes = (
            Line(_LEFT, _TOP, _LEFT, bottom, "axis"),
            Line(_LEFT, bottom, right, bottom, "axis"),
            Words(_LEFT - 6, bottom, "0", "end"),
            Words(_LEFT - 6, self.y(self.most_y) + 4, f"{self.most_y:.2g}", "end"),
            Words(_LEFT + 4, self.y(self.most_y) + 4, self.name_y),
            Words(_LEFT, bottom + 16, "0", "middle"),
            Words(right, bottom + 16, f"{self.most_x:,.4g}", "end"),
            Words((_LEFT + right) / 2, bottom + 30, self.name_x, "middle"),
        )
        return Mark(f"{self.name_y} by {self.name_x}", shapes)

    def estimate(self, at: float, value: float, low: float, high: float, above: str) -> tuple[Line, Dot]:
        """Return an interval, and the estimate in it."""
        place = self.x(at)
        return Line(place, self.y(low), place, self.y(high), f"range{above}"), Dot(place, self.y(value), f"dot{above}")


def interval_plot(title: str, rows: Sequence[tuple[str, float, float, float, float]]) -> Plot | None:
    """Return intervals of shares below each other with their bars, of (label, low, estimate, high, bar); None without
    any. The interval of a share that is above its bar stands out.
    """
    if not rows:
        return None

    def x(share: float) -> float:
        return round(_NAMES + (WIDTH - _NAMES - 8) * share, 1)

    height = 24 + _ROW * len(rows)
    ends = (Words(x(0), 11, "0", "middle"), Words(x(1), 11, "1", "end"))
    marks = [Mark("from 0 to 1", (*(Line(x(end), 12, x(end), height, "axis") for end in (0, 1)), *ends))]
    for place, (label, low, value, high, bar) in enumerate(rows):
        y, above = 24 + _ROW * place, " above" if low >= bar else ""
        shapes = (
            Words(4, y + 4, _short(label)),
            Line(x(low), y, x(high), y, f"range{above}"),
            Dot(x(value), y, f"dot{above}"),
            Line(x(bar), y - 6, x(bar), y + 6, "limit"),
        )
        marks.append(Mark(f"{label}: {value:.2f}, from {low:.2f} to {high:.2f}; the bar is {bar:.2f}", shapes))
    return Plot(title, height, tuple(marks))


def reliability_plot(title: str, rows: pl.DataFrame) -> Plot | None:
    """Return how often what a method says is true, of (probability, share, items); None without rows.

    On the diagonal a probability is what it says.
    """
    if rows.is_empty():
        return None
    frame = _Frame(1.0, 1.0, "probability that is said", "share that is true")
    marks = [frame.axes(), Mark("as said", (Line(frame.x(0), frame.y(0), frame.x(1), frame.y(1), "axis"),))]
    before: tuple[float, float] | None = None
    for said, true, items in rows.sort("probability").select("probability", "share", "items").iter_rows():
        here = frame.x(said), frame.y(true)
        shapes: list[Line | Dot] = [Line(*before, *here, "curve")] if before else []
        marks.append(Mark(f"said {said:.2f}, true {true:.2f}, of {items:,}", (*shapes, Dot(*here, "dot above"))))
        before = here
    return Plot(title, _HEIGHT, tuple(marks))


def learning_plot(title: str, rows: pl.DataFrame) -> Plot | None:
    """Return quality by labels, of (labels, quality, low, high, is_measured); None without. A projection is pale."""
    known = rows.drop_nulls(["quality", "low", "high"]).sort("labels")
    if known.is_empty():
        return None
    top = _rounded_up(max(known["high"].to_list()))
    frame = _Frame(float(known["labels"][-1]), top, "labelled posts", "mean average precision")
    marks = [frame.axes()]
    for row in known.iter_rows(named=True):
        above, how = (" above", "measured") if row["is_measured"] else ("", "projected")
        shapes = frame.estimate(row["labels"], row["quality"], row["low"], row["high"], above)
        marks.append(Mark(f"{row['labels']:,} labels: {row['quality']:.3f}, {how}", shapes))
    return Plot(title, _HEIGHT, tuple(marks))


def cost_plot(title: str, rows: Sequence[dict[str, Any]]) -> Plot | None:
    """Return quality against what a million posts cost, machine included, of rows of mart/model_comparison.

    None unless a row has both.
    """
    known = [(row, cost) for row in rows if row["quality"] is not None and (cost := _usd(row)) is not None]
    if not known:
        return None
    frame = _Frame(
        max(cost for _, cost in known) or 1.0,
        _rounded_up(max(row["quality_high"] or row["quality"] for row, _ in known)),
        "USD per million posts, with the machine",
        "quality",
    )
    marks, taken = [frame.axes()], -math.inf
    for row, cost in sorted(known, key=lambda found: -found[0]["quality"]):
        value = row["quality"]
        ends = (row["quality_low"], row["quality_high"])
        low, high = (value if end is None else end for end in ends)
        taken = max(frame.y(value) + 4, taken + _BETWEEN)  # no name is written over another
        on_left = frame.x(cost) > WIDTH / 2
        name = row["model"].rpartition("/")[2] if row["method"] == BY_MODEL else row["method"]
        words = Words(
            frame.x(cost) + (-8 if on_left else 8),
            taken,
            _short(name, _MOST_LETTERS_IN_PLOT),
            "end" if on_left else "start",
        )
        what = f"{name}, {row['task']}: {value:.2f} for ${cost:,.2f}"
        marks.append(Mark(what, (*frame.estimate(cost, value, low, high, " above"), words)))
    return Plot(title, _HEIGHT, tuple(marks))


def _usd(row: dict[str, Any]) -> float | None:
    """Return what a million posts cost; None if the price, or the time of a machine that is paid by the hour, is not
    known.
    """
    charged, machine = row["usd_per_million_posts"], row["machine_usd_per_million_posts"]
    if charged is None or (row["lane"] == "local" and machine is None):
        return None
    return float(charged + (machine or 0.0))


def _rounded_up(share: float) -> float:
    return min(1.0, max(0.1, math.ceil(share * 10) / 10))


def _short(label: str, most: int = _MOST_LETTERS) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"
