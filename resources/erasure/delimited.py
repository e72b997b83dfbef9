"""Separated text as people drop it, in any encoding and separator: its rows, each with the lines that it stands in."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from resources.catalogues.audience import LANDING, load_audience_columns
from resources.erasure.tombstones import FIELD_KINDS

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_SEPARATORS = (",", ";", "\t", "|")
_LONGEST_CELL = 1 << 30


@dataclass(frozen=True)
class SeparatedText:
    """A decoded file: ``above`` are the lines up to its header, which is among them; ``names`` are the header's cells.

    A header that the audience catalogue calls account_id is ``account_id``.
    """

    mark: bytes
    encoding: str
    separator: str
    above: str
    below: str
    names: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """(lines, cells) of every row that is not blank. Raises csv.Error where the quotes are not in order."""
        return _rows(self.below, self.separator)

    def lines(self) -> Iterator[list[str]]:
        """Every line by itself, split at every separator: for a file whose quotes are not in order."""
        for line in f"{self.above}{self.below}".splitlines():
            yield [cell.strip().strip("\"'") for cell in line.split(self.separator)]

    def encoded(self, lines: Iterable[str]) -> bytes:
        """The file with its header and these lines alone."""
        return self.mark + f"{self.above}{''.join(lines)}".encode(self.encoding)


def read_separated(key: str, body: bytes) -> SeparatedText:
    """A file under a key; any bytes are some text. Memory: the text twice."""
    mark, encoding, text = _decoded(body)
    header_at = len(text) - len(text.lstrip("\r\n"))
    first = _first_line(text, header_at)
    declared = first.rstrip("\r\n")[len("sep=") :] if first.lower().startswith("sep=") else ""
    if declared:
        header_at += len(first)
        first = _first_line(text, header_at)
    separators: Sequence[str] = [declared] if len(declared) == 1 else _SEPARATORS
    is_audience = key.startswith(LANDING)
    rest = text[header_at:]
    headers = {separator: _header(rest, first, separator) for separator in separators}
    named = {separator: tuple(_name(cell, is_audience) for cell in cells) for separator, (_, cells) in headers.items()}
    separator = max(separators, key=lambda one: (sum(name in FIELD_KINDS for name in named[one]), len(named[one])))
    begins = header_at + len(headers[separator][0])
    return SeparatedText(mark, encoding, separator, text[:begins], text[begins:], named[separator])


def _decoded(body: bytes) -> tuple[bytes, str, str]:
    """(mark, encoding, text), from which the same bytes can be made again."""
    marked = next(((mark, encoding) for mark, encoding in _MARKS if body.startswith(mark)), None)
    candidates = [marked] if marked else [(b"", "utf-8"), (b"", "cp1252")]
    for mark, encoding in candidates:
        try:
            return mark, encoding, body[len(mark) :].decode(encoding)
        except UnicodeDecodeError:
            continue
    return b"", "latin-1", body.decode("latin-1")


def _first_line(text: str, at: int) -> str:
    ends = text.find("\n", at) + 1
    return text[at:ends] if ends else text[at:]


def _header(text: str, first: str, separator: str) -> tuple[str, list[str]]:
    try:
        return next(_rows(text, separator), ("", []))
    except csv.Error:
        return first, first.strip().split(separator)


def _name(header: str, is_audience: bool) -> str:
    is_account = is_audience and load_audience_columns().role(header) == "account_id"
    return "account_id" if is_account else header.strip()


def _rows(text: str, separator: str) -> Iterator[tuple[str, list[str]]]:
    csv.field_size_limit(_LONGEST_CELL)  # of the process; a cell of a file that fits in memory may be as long
    consumed: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            consumed.append(line)
            yield line

    for cells in csv.reader(lines(), delimiter=separator, strict=True, doublequote=True):
        if any(cell.strip() for cell in cells):
            yield "".join(consumed), cells
        consumed.clear()
