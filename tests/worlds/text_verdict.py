"""Judge an output of hostile data: nothing in it is a control character, markup, a formula or a line of its own."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser

from tests.worlds.hostile_text import BOLD, MARKER
from tests.worlds.text_outputs import Output

_DIRECTIONS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
_TAGS = re.compile(r"script|img|iframe|object|embed|style|b|x|bold")
_CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")


def faults(output: Output) -> list[str]:
    """Return what is wrong with an output, each in one line."""
    return [f"{output.place[:80]}: {fault}" for fault in JUDGES[output.kind](output.text)]


def _controls(text: str, allowed: str = "\n", *, directions: bool = True) -> list[str]:
    kinds = ("Cc", "Cs", "Zl", "Zp") if directions else ("Cc", "Cs")
    found = {c for c in set(text) if unicodedata.category(c) in kinds} - set(allowed)
    if directions:
        found |= {c for c in set(text) if unicodedata.bidirectional(c) in _DIRECTIONS}
    return [f"control U+{ord(c):04X} in {_around(text, c)}" for c in sorted(found)]


def _around(text: str, part: str) -> str:
    at = text.index(part)
    return repr(text[max(0, at - 40) : at + 40])


def _lines(text: str) -> list[str]:
    return _controls(text, "\n\t")


def _terminal(text: str) -> list[str]:
    bare = text.replace(BOLD, "")
    word = BOLD.rpartition("]")[2]
    return [*_controls(text), *([f"markup taken in {_around(bare, word)}"] if word in bare else [])]


def _markdown(text: str) -> list[str]:
    bare = _CODE.sub("", text)
    return [*_controls(text), *(f"{part!r} in {_around(bare, part)}" for part in ("<", "](", "**") if part in bare)]


class _Tags(HTMLParser):
    """Collects what a page may not have."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._open = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        own = tag == "script" and (dict(attributes).get("src") or "").startswith("/static/")
        if _TAGS.fullmatch(tag) and not own:
            self.faults.append(f"tag {tag} {attributes}")
        for name, value in attributes:
            if name.startswith("on") or MARKER in name or re.match(r"\s*javascript:", value or ""):
                self.faults.append(f"attribute {name} of {tag}")

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"comment {data[:40]!r}")


def _html(text: str) -> list[str]:
    parser = _Tags()
    parser.feed(text)
    return [*_controls(text), *parser.faults]


def _csv(text: str) -> list[str]:
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    found = _controls(text, "\r\n", directions=False)
    found += [f"{len(row)} cells for {len(rows[0])}" for row in rows if len(row) != len(rows[0])]
    found += [f"{len(text.splitlines())} lines for {len(rows)} rows"] * (len(text.splitlines()) != len(rows))
    return found + [f"formula {cell!r}" for row in rows for cell in row if _FORMULA.match(cell) and not _number(cell)]


def _number(cell: str) -> bool:
    return re.fullmatch(r"-?\d[\d.e+-]*", cell) is not None


def _json(text: str) -> list[str]:
    json.loads(text)
    return _controls(text, "\n\t")


def _sheet(text: str) -> list[str]:
    found = [f"element {tag}" for tag in ("<f>", "<f ", "<hyperlink") if tag in text]
    return found + _controls(text, "\n\r", directions=False) + re.findall(r"_x00[01][0-9A-F]_", text)


def _values(text: str) -> list[str]:
    return _controls(text, "\n\t", directions=False)


JUDGES: dict[str, Callable[[str], list[str]]] = {
    "lines": _lines,
    "terminal": _terminal,
    "markdown": _markdown,
    "html": _html,
    "csv": _csv,
    "json": _json,
    "sheet": _sheet,
    "values": _values,
}
"""Kind of output → what is wrong with a text of that kind."""
