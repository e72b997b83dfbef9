"""Limit the marks after a character. Normalization takes quadratic time in the length of a run of marks."""

import re
import unicodedata
from functools import cache

MAX_MARKS = 30
"""The most marks after a character, as in the Stream-Safe Text Format (UAX #15). No language needs more than a few."""


_POSSIBLE = re.compile(f"[^\x00-\u02ff\u2000-\u20cf\u2100-\u2bff]{{{MAX_MARKS}}}")
"""Runs that may be of marks. The pattern of marks itself takes .1 s to make, and four times as long to search for."""


def limit_marks(text: str) -> str:
    """Return a text without the marks that follow MAX_MARKS others."""
    return long_runs_of_marks().sub(r"\1", text) if _POSSIBLE.search(text) else text


@cache
def long_runs_of_marks() -> re.Pattern[str]:
    """Return a pattern of runs beyond MAX_MARKS; its group 1 is the part to keep.

    A mark is a character that compatibility decomposition moves: one whose first decomposed character has a combining
    class. All have code points below U+20000; the planes above hold ideographs, tags and private use.
    """
    marks = "".join(
        chr(code)
        for code in range(0x300, 0x20000)
        if not 0xD800 <= code < 0xE000 and unicodedata.combining(unicodedata.normalize("NFKD", chr(code))[0])
    )
    return re.compile(f"([{marks}]{{{MAX_MARKS}}})[{marks}]+")
