"""Plots: every shape is inside, says what it shows, and is the same as SVG and as PNG."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from assets.framework.pictures import PLOTS, pictures, png
from assets.transforms.plots import (
    WIDTH,
    Dot,
    Line,
    Plot,
    Words,
    cost_plot,
    interval_plot,
    learning_plot,
    reliability_plot,
)
from pipelines.web import pages

ACCENT = (34, 88, 74)
TENTHS = pl.DataFrame({"probability": [0.9, 0.1], "share": [1.0, 0.0], "items": [3, 900]})
CURVE = pl.DataFrame({"labels": [10, 20, 40, 80], "quality": [0.2, 0.4, 0.45, None], "low": [0.1, 0.3, 0.4, None],
                      "high": [0.3, 0.5, 0.5, None], "is_measured": [True, True, False, False]})  # fmt: skip


def compared(method: str, quality: float | None, usd: float | None, machine: float | None = None) -> dict[str, Any]:
    low, high = (None, None) if quality is None else (quality - 0.1, quality + 0.1)
    lane = "local" if method == "probe" else "live"
    return {"method": method, "model": "org/model-70b", "task": "tag posts", "lane": lane, "quality": quality,
            "quality_low": low, "quality_high": high, "usd_per_million_posts": usd,
            "machine_usd_per_million_posts": machine}  # fmt: skip


PLOT = cost_plot("cost", [compared("probe", 0.5, 0.0, 0.4), compared("language model", 0.6, 90.0)])
SHOWN = [
    interval_plot("intervals", [("a name of twenty-one l", 0.6, 0.7, 1.0, 0.5), ("b", 0.0, 0.2, 0.4, 0.5)]),
    reliability_plot("calibration", TENTHS),
    learning_plot("curve", CURVE),
    PLOT,
]


@pytest.mark.parametrize("plot", SHOWN)
def test_shapes_are_inside_and_a_picture_shows_them(plot: Plot) -> None:
    for shape in (shape for mark in plot.marks for shape in mark.shapes):
        ends = [(shape.x1, shape.y1), (shape.x2, shape.y2)] if isinstance(shape, Line) else [(shape.x, shape.y)]
        assert all(0 <= x <= WIDTH and 0 <= y <= plot.height for x, y in ends)
    image = Image.open(io.BytesIO(png(plot)))
    assert image.width == 2 * WIDTH
    assert image.height == 2 * (plot.height + 26)
    dot = next(it for mark in plot.marks for it in mark.shapes if isinstance(it, Dot) and it.kind == "dot above")
    pixel = image.convert("RGB").getpixel((round(2 * dot.x), round(2 * (dot.y + 26))))
    assert isinstance(pixel, tuple)
    assert max(abs(a - b) for a, b in zip(pixel, ACCENT, strict=True)) < 12


def test_every_kind_of_shape_has_a_colour_on_the_page_too() -> None:
    style = (Path(pages.__file__).parent / "static" / "page.css").read_text()
    kinds = {
        it.kind for plot in SHOWN if plot for mark in plot.marks for it in mark.shapes if not isinstance(it, Words)
    }
    assert kinds == {"axis", "limit", "curve", "range", "range above", "dot", "dot above"}
    assert {kind for kind in kinds if f".{kind.replace(' ', '.')} {{" not in style} == set()


def test_an_interval_above_its_bar_stands_out() -> None:
    plot = SHOWN[0]
    assert plot is not None
    kinds = [[it.kind for it in mark.shapes if isinstance(it, Dot)] for mark in plot.marks[1:]]
    assert kinds == [["dot above"], ["dot"]]
    assert plot.marks[1].title == "a name of twenty-one l: 0.70, from 0.60 to 1.00; the bar is 0.50"
    assert [it.text for it in plot.marks[1].shapes if isinstance(it, Words)] == ["a name of twenty-on…"]


def test_a_projection_is_pale_and_what_was_not_measured_is_left_out() -> None:
    plot = learning_plot("curve", CURVE)
    assert plot is not None
    assert [mark.title for mark in plot.marks[1:]] == [
        "10 labels: 0.200, measured",
        "20 labels: 0.400, measured",
        "40 labels: 0.450, projected",
    ]


def test_cost_is_what_is_charged_and_the_machine() -> None:
    assert PLOT is not None
    assert [mark.title for mark in PLOT.marks[1:]] == [
        "model-70b, tag posts: 0.60 for $90.00",
        "probe, tag posts: 0.50 for $0.40",
    ]
    [far] = [it for it in PLOT.marks[1].shapes if isinstance(it, Dot)]
    assert far.x == WIDTH - 12


def test_nothing_to_show_is_no_plot() -> None:
    assert interval_plot("i", []) is None
    assert reliability_plot("r", TENTHS.clear()) is None
    assert learning_plot("l", CURVE.tail(1)) is None
    unknown = [compared("probe", None, 0.0, 1.0), compared("probe", 0.5, None), compared("probe", 0.5, 0.0)]
    assert cost_plot("c", unknown) is None
    assert pictures([None]) == {}


def test_names_are_not_written_over_each_other() -> None:
    plot = cost_plot("c", [compared("probe", 0.5, 0.0, 0.4), compared("zero_shot", 0.501, 0.4)])
    assert plot is not None
    first, second = (next(it.y for it in mark.shapes if isinstance(it, Words)) for mark in plot.marks[1:])
    assert second - first >= 14


def test_metadata_has_each_picture_as_a_data_address() -> None:
    text = pictures(SHOWN)[PLOTS].value
    found = re.findall(r"!\[(\w+)\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", text)
    assert [title for title, _ in found] == ["intervals", "calibration", "curve", "cost"]
    assert all(Image.open(io.BytesIO(base64.b64decode(body))).format == "PNG" for _, body in found)
    assert len(text) < 80_000
