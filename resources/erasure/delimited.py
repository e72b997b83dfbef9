"""Delimited text in any encoding and with any separator: its rows, each with its original lines."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from resources.catalogues.audience import LANDING, load_audience_columns
from resources.erasure.tombstones import FIELD_KINDS

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'[ "]*sep\s*=[ "]*(\t|[^\s"])?[^\r\n]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_TEXT_MARK = re.compile(r"""="(.*)"|'(?=[0-9=+\-@.,])(.*)""", re.DOTALL)
"""What a spreadsheet writes to have ``007`` taken as text: ``="007"`` or ``'007``."""
_LONGEST_CELL = 1 << 30


@dataclass(frozen=True)
class DelimitedText:
    """A decoded file: ``header`` holds the lines up to and with the header, ``names`` its cells, ``body`` the rest.

    A header that the audience catalogue maps to account_id is ``account_id``.
    """

    byte_order_mark: bytes
    encoding: str
    separator: str
    header: str
    body: str
    names: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """Yield (lines, cells) of every row that is not blank. Raise csv.Error if a quote is not closed."""
        for lines, cells in _rows(self.body, self.separator):
            yield lines, [_plain(cell) for cell in cells]

    def lines(self) -> Iterator[list[str]]:
        """Yield the cells of every line, split at every separator: for a file with broken quotes."""
        for line in f"{self.header}{self.body}".splitlines():
            yield [cell.strip().strip("\"'=") for cell in line.split(self.separator)]

    def encoded(self, lines: Iterable[str]) -> bytes:
        """Return the file with its header and only these lines."""
        return self.byte_order_mark + f"{self.header}{''.join(lines)}".encode(self.encoding)


def read_delimited(key: str, body: bytes) -> DelimitedText:
    """Decode the object under a key. Any bytes are accepted. Memory: the text twice."""
    mark, encoding, text = decoded(body)
    start = len(text) - len(text.lstrip("\r\n\ufeff"))  # a file may have a second byte order mark
    separators: Sequence[str] = _SEPARATORS
    if found := _SEPARATOR_LINE.match(text, start):
        separators = [found[1], *_SEPARATORS] if found[1] else _SEPARATORS
        start = found.end()
    headers = [(separator, *_header(text, start, separator, key)) for separator in separators]
    separator, end, names = max(headers, key=lambda found: (sum(n in FIELD_KINDS for n in found[2]), len(found[2])))
    return DelimitedText(mark, encoding, separator, text[:end], text[end:], names)


def decoded(body: bytes) -> tuple[bytes, str, str]:
    """Return (byte order mark, encoding, text) that encode to the same bytes."""
    marked = [(mark, encoding) for mark, encoding in _BYTE_ORDER_MARKS if body.startswith(mark)]
    wide = [(b"", encoding) for encoding in wide_encodings(body)]
    for mark, encoding in marked or wide or [(b"", "utf-8"), (b"", "cp1252")]:
        try:
            return mark, encoding, body[len(mark) :].decode(encoding)
        except UnicodeDecodeError:
            continue
    return b"", "latin-1", body.decode("latin-1")


def wide_encodings(body: bytes) -> list[str]:
    """Return the encodings of two bytes a character that a text, or its beginning, seems to have."""
    marked = [encoding for mark, encoding in _BYTE_ORDER_MARKS[1:] if body.startswith(mark)]
    places = ((1, "utf-16-le"), (0, "utf-16-be"))
    return marked or [encoding for at, encoding in places if body[at::2].count(0) * 4 > len(body)]


def _plain(cell: str) -> str:
    text = cell.strip()
    found = _TEXT_MARK.fullmatch(text)
    return (found[1] or found[2] or "").strip() if found else text


def _line_at(text: str, start: int) -> str:
    return text[start : text.find("\n", start) + 1 or len(text)]


def _header(text: str, start: int, separator: str, key: str) -> tuple[int, tuple[str, ...]]:
    """Return the end of the header and its names."""
    try:
        lines, cells = next(_rows(text[start:], separator), ("", []))
    except csv.Error:
        lines = _line_at(text, start)
        cells = lines.strip().split(separator)
    is_audience = key.startswith(LANDING)
    return start + len(lines), tuple(
        "account_id" if is_audience and load_audience_columns().role(cell) == "account_id" else cell.strip()
        for cell in cells
    )


def _rows(text: str, separator: str) -> Iterator[tuple[str, list[str]]]:
    csv.field_size_limit(_LONGEST_CELL)  # of the process; a cell may be as long as the file
    consumed: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            consumed.append(line)
            yield line

    for cells in csv.reader(lines(), delimiter=separator, strict=True, doublequote=True):
        if any(cell.strip() for cell in cells):
            yield "".join(consumed), cells
        consumed.clear()
