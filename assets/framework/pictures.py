"""Plots as PNG in the metadata of an asset, where Dagster's UI shows them."""

import base64
import io
from collections.abc import Iterable
from functools import cache
from typing import Any

from dagster import MetadataValue

from assets.transforms.plots import WIDTH, Dot, Line, Plot, Words

PLOTS = "plots"
"""The name of the metadata."""
_SHARPER, _SMALLER = 4, 2
"""Shapes are drawn four times as large and made half as large again, which smooths them."""
_HEADER, _LETTERS, _RADIUS = 26, 13, 3
_BACK, _INK, _SOFT, _FAINT, _ACCENT = "#ffffff", "#1d2421", "#55605b", "#c4c3bc", "#22584a"
_COLOURS = {
    "axis": (_FAINT, 1),
    "limit": (_INK, 2),
    "curve": (_ACCENT, 1),
    "range": (_SOFT, 3),
    "range above": (_ACCENT, 3),
    "dot": (_SOFT, 1),
    "dot above": (_ACCENT, 1),
}
"""Kind of shape → colour and width, as in the page's style sheet."""
_COLOURS_KEPT = 32


def pictures(plots: Iterable[Plot | None]) -> dict[str, Any]:
    """Return the metadata of the plots that have something to show; nothing without any."""
    shown = [f"![{plot.title}](data:image/png;base64,{base64.b64encode(png(plot)).decode()})" for plot in plots if plot]
    return {PLOTS: MetadataValue.md("\n\n".join(shown))} if shown else {}


def png(plot: Plot) -> bytes:
    """Return a plot as PNG, with its title above it: 920 pixels wide, about 10 kB."""
    from PIL import Image, ImageDraw  # a tenth of a second that most commands do without

    height = round(plot.height) + _HEADER
    image = Image.new("RGB", (WIDTH * _SHARPER, height * _SHARPER), _BACK)
    draw = ImageDraw.Draw(image)
    _write(draw, Words(8, _HEADER - 9 - _HEADER, plot.title), _INK)
    for shape in (shape for mark in plot.marks for shape in mark.shapes):
        if isinstance(shape, Words):
            _write(draw, shape, _SOFT)
            continue
        colour, width = _COLOURS[shape.kind]
        if isinstance(shape, Line):
            ends = (*_at(shape.x1, shape.y1), *_at(shape.x2, shape.y2))
            draw.line(ends, fill=colour, width=width * _SHARPER)
        else:
            draw.ellipse(_around(shape), fill=colour)
    smaller = image.resize((image.width // _SMALLER, image.height // _SMALLER), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    smaller.quantize(_COLOURS_KEPT).save(out, "PNG", optimize=True)
    return out.getvalue()


def _at(x: float, y: float) -> tuple[float, float]:
    return x * _SHARPER, (y + _HEADER) * _SHARPER


def _around(dot: Dot) -> tuple[float, float, float, float]:
    return (*_at(dot.x - _RADIUS, dot.y - _RADIUS), *_at(dot.x + _RADIUS, dot.y + _RADIUS))


def _write(draw: Any, words: Words, colour: str) -> None:
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[words.anchor]
    draw.text(_at(words.x, words.y), words.text, fill=colour, font=_font(), anchor=anchor)


@cache
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(_LETTERS * _SHARPER)
