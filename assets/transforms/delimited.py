"""Read delimited text as spreadsheets write it: encodings, separators, and the forms of a cell's text."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

MOST_BYTES = 256 << 20
_SEPARATORS = (",", ";", "\t", "|")
_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_BLANKS_OF_LINES = "\r\n\ufeff"
"""With byte order marks: a program that saves a marked file may add a second one."""
_SEPARATOR_LINE = re.compile(r'"?\s*sep\s*=(.*)', re.IGNORECASE | re.DOTALL)
_LINE_END = re.compile(r"\r\n|\r|\n")
_FORMULA_TEXT = re.compile(r'="(.*)"', re.DOTALL)
_FORCED_TEXT = re.compile(r"'(?=[0-9=+\-@.,])")


class UnusableReportError(ValueError):
    """No row of a file can be used. The message is the reason, one clause."""


class Table:
    """The header and the rows of a delimited text. Rows can be read more than once."""

    def __init__(self, body: bytes, is_known: Callable[[str], bool]) -> None:
        """Detect encoding and separator; ``is_known`` tells known headers. Raise UnusableReportError.

        The separator is the one that Excel's ``sep=;`` line names, else the one that gives the most known headers.
        """
        text = decode(body)
        self._text = text.lstrip(_BLANKS_OF_LINES)
        first = _LINE_END.search(self._text)
        declared = _declared(self._text[: first.start()] if first else self._text)
        if declared is not None:
            self._text = self._text[first.end() :] if first else ""
        self._above = len(_LINE_END.findall(text, 0, len(text) - len(self._text)))

        def known(separator: str) -> tuple[int, int]:
            with suppress(UnusableReportError):
                _, header = next(self._read(separator), (0, []))
                return sum(map(is_known, header)), len(header)
            return 0, 0

        has_declared = declared and known(declared)[0]
        self._separator = declared if declared and has_declared else max(_SEPARATORS, key=known)
        _, self.header = next(self._read(self._separator), (0, []))
        if not self.header:
            raise UnusableReportError("the file is empty")

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, cells) of each row below the header that is not blank. Raise UnusableReportError."""
        lines = self._read(self._separator)
        next(lines, None)
        return lines

    def fitted(self, cells: Sequence[str]) -> list[str] | None:
        """Return a row's cells, one for each header, or None if the row has another number of cells.

        Cells without a header are left out if they are blank, and headers without a name need no cell: spreadsheets
        write separators at the end of some rows only.
        """
        width = len(self.header)
        named = max((at for at, name in enumerate(self.header, 1) if name.strip()), default=width)
        if not named <= len(cells) or any(cell.strip() for cell in cells[width:]):
            return None
        return [plain(cell) for cell in cells[:width]] + [""] * (width - len(cells))

    def _read(self, separator: str) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=separator, strict=True)
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num + self._above, cells
        except csv.Error as error:
            raise UnusableReportError(f"line {reader.line_num + self._above} cannot be read: {error}") from None


def decode(body: bytes) -> str:
    """Return a file's text: by its byte order mark, else UTF-8, else Windows-1252. Raise UnusableReportError.

    A text with a NUL in every second byte is UTF-16, also without a mark.
    """
    if len(body) > MOST_BYTES:
        raise UnusableReportError(f"the file is larger than {MOST_BYTES >> 20} MiB, so it has to be split")
    marked = [encoding for mark, encoding in _ENCODINGS if body.startswith(mark)]
    wide = [name for at, name in ((1, "utf-16-le"), (0, "utf-16-be")) if body[at::2].count(0) * 4 > len(body)]
    for encoding in marked or wide or ["utf-8", "cp1252"]:
        with suppress(UnicodeDecodeError):
            text = body.decode(encoding)
            if "\0" not in text:
                return text
    raise UnusableReportError("the file is not text in UTF-8, UTF-16 or Windows-1252")


def plain(cell: str) -> str:
    """Return a cell's text without the marks that make spreadsheets take it as text: ``'007``, ``="007"``."""
    text = cell.strip()
    if found := _FORMULA_TEXT.fullmatch(text):
        return found[1].strip()
    return text[1:].strip() if _FORCED_TEXT.match(text) else text


def _declared(line: str) -> str | None:
    """Return the separator that a ``sep=`` line names, "" if it names none, None if it is no such line."""
    found = _SEPARATOR_LINE.fullmatch(line.strip(" "))
    if found is None:
        return None
    named = found[1].strip(' "')
    if named.lower() in {"tab", r"\t"}:
        return "\t"
    return named[0] if named and not set(named[1:]) - {" ", '"', named[0], *_SEPARATORS} else ""
