"""Find the words of a text that a query asked for, to mark them."""

import re
from collections.abc import Callable, Iterator

_PIECE = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+"
    "|\\w+"
)
_LAST_SPACED = "\u0e00"
"""Scripts without spaces begin here; their terms are pairs of characters. Hangul, behind them, has spaces."""
_HANGUL = re.compile("[\uac00-\ud7a3]")


def marked(text: str, wanted: frozenset[int], terms_of: Callable[[str], frozenset[int]]) -> list[tuple[str, bool]]:
    """Return the text in parts, each with whether the query has it. The parts together are the text.

    ``wanted`` are the query's terms, and ``terms_of`` returns those of a word, as the index counts them.
    """
    parts: list[tuple[str, bool]] = []
    at = 0
    for start, end in _spans(text, wanted, terms_of):
        if start > at:
            parts.append((text[at:start], False))
        if start < at:  # pairs of characters overlap
            start = at
        if parts and parts[-1][1] and start == at:
            parts[-1] = (parts[-1][0] + text[start:end], True)
        elif start < end:
            parts.append((text[start:end], True))
        at = max(at, end)
    return [*parts, (text[at:], False)] if at < len(text) else parts


def _spans(text: str, wanted: frozenset[int], terms_of: Callable[[str], frozenset[int]]) -> Iterator[tuple[int, int]]:
    for found in _PIECE.finditer(text):
        piece, start = found.group(), found.start()
        if piece[0] < _LAST_SPACED or _HANGUL.match(piece):
            if terms_of(piece) & wanted:
                yield start, found.end()
            continue
        for number in range(max(1, len(piece) - 1)):
            if terms_of(piece[number : number + 2]) & wanted:
                yield start + number, start + min(number + 2, len(piece))
