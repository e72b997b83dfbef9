"""Cut a text into sentences, for quoting."""

import re
from itertools import pairwise

_END = re.compile("[.!?…؟।]+[\"'”’»)\\]]*(?=\\s)|[。！？]+(?![。！？」』”])|[\r\n\u2028\u2029]")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text in order, without blank ones. The end of a line ends a sentence."""
    cuts = [0, *(found.end() for found in _END.finditer(text)), len(text)]
    return [piece for start, end in pairwise(cuts) if (piece := text[start:end].strip())]
