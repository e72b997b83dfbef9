"""Draw the column lineage of an asset as SVG: its sources on the left, its columns on the right."""

from collections.abc import Sequence
from html import escape

from dagster import TableColumnLineage

_ROW, _LETTER, _GAP = 18, 7.3, 140
"""Height of a row, width of a letter, and width of the lines between both lists, in pixels."""
_TEXT = 'font-family="monospace" font-size="12" fill="currentColor"'


def drawn(lineage: TableColumnLineage) -> str:
    """Return the drawing in one line of HTML, which Markdown passes on."""
    edges = [
        (f"{dep.asset_key.to_user_string()}.{dep.column_name}", column)
        for column, deps in lineage.deps_by_column.items()
        for dep in deps
    ]
    sources, columns = sorted({source for source, _ in edges}), list(lineage.deps_by_column)
    left, right = (max(len(name) for name in names) * _LETTER for names in (sources, columns))
    height = max(len(sources), len(columns)) * _ROW + 4
    width = left + _GAP + right + 8
    lines = "".join(
        _line(left + 8, _middle(sources, source), left + _GAP - 8, _middle(columns, column)) for source, column in edges
    )
    texts = _texts(sources, left, "end") + _texts(columns, left + _GAP, "start")
    title = escape("; ".join(f"{column} from {source}" for source, column in edges))
    return (
        f'<figure><svg role="img" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" style="max-width: 100%">'
        f"<title>{title}</title>{lines}{texts}</svg></figure>"
    )


def _middle(names: Sequence[str], name: str) -> int:
    return names.index(name) * _ROW + 10


def _line(x: float, y: int, to_x: float, to_y: int) -> str:
    half = (x + to_x) / 2
    path = f"M{x:.0f},{y} C{half:.0f},{y} {half:.0f},{to_y} {to_x:.0f},{to_y}"
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity="0.4"/>'


def _texts(names: Sequence[str], x: float, anchor: str) -> str:
    return "".join(
        f'<text x="{x:.0f}" y="{number * _ROW + 14}" text-anchor="{anchor}" {_TEXT}>{escape(name)}</text>'
        for number, name in enumerate(names)
    )
