"""Cut a text into sentences, for quoting."""

import re
from collections.abc import Iterator

from sentencex import segment

_WINDOW = 4_000
_ABBREVIATION = re.compile(r"\b(?:ft|feat|prod|vs|ep|vol|pt|mrs?|dr)\.\s*$", re.IGNORECASE)
"""Abbreviations before a name or number. The library knows few of them, and none in most languages."""
_LINE_END = re.compile(r"[\r\n\u2028\u2029]+|(?<=…)\s+")


def sentences(text: str, language: str = "en") -> list[str]:
    """Return the sentences of a text in order, without blank ones. The end of a line ends a sentence.

    ``language`` (ISO 639-1) decides which abbreviations end none; that of an unknown language is English.
    """
    lines = _LINE_END.split(text)
    return [piece for line in lines for part in _joined(_segmented(line, language or "en")) if (piece := part.strip())]


def _joined(parts: Iterator[str]) -> Iterator[str]:
    """Yield the sentences of a line, those together that an abbreviation of titles cut."""
    before = ""
    for part in parts:
        before += part
        if not _ABBREVIATION.search(part):
            yield before
            before = ""
    yield before


def _segmented(line: str, language: str) -> Iterator[str]:
    """Yield the sentences of a line. Longer ones than _WINDOW are cut.

    The library's time is quadratic in the quotes of a line, so it gets a part of it at a time.
    """
    start = 0
    while len(line) - start > _WINDOW:
        *whole, last = segment(language, line[start : start + _WINDOW]) or [""]
        yield from whole or [last]
        end = start + _WINDOW
        start = line.rindex(last, start, end) if whole else end
    yield from segment(language, line[start:])
