"""Texts of this repository: README and Makefile, rows of Markdown tables, names in code font."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))


def table_rows(text: str, header: str) -> list[list[str]]:
    """Return the cells of all rows of all tables in a text whose header line starts so."""
    tables = f"\n{text}".split(f"\n| {header} |")[1:]
    assert tables, header
    rows = [row for table in tables for row in table.split("\n\n")[0].splitlines()[2:]]
    return [[cell.strip() for cell in row.strip().strip("|").split(" | ")] for row in rows]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)
