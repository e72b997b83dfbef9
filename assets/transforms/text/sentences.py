"""Cut a text into sentences, for quoting."""

import re

from sentencex import segment

_LINE_END = re.compile(r"[\r\n\u2028\u2029]+|(?<=…)\s+")


def sentences(text: str, language: str = "en") -> list[str]:
    """Return the sentences of a text in order, without blank ones. The end of a line ends a sentence.

    ``language`` (ISO 639-1) decides which abbreviations end none; that of an unknown language is English.
    """
    lines = _LINE_END.split(text)
    return [piece for line in lines for part in segment(language or "en", line) if (piece := part.strip())]
