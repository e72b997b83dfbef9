"""Find what a post says of its own beside the lines and sentences that its account repeats below other posts."""

import re
from collections import Counter
from collections.abc import Sequence

from assets.transforms.text.near_duplicates import Parts

LEAST_POSTS = 3
"""A line or sentence in this many different texts of an account is boilerplate."""
_MOST_TITLE_WORDS = 12
_SENTENCE_END = re.compile(r"(?<=[.!?…।؟])\s+|(?<=[。！？])")


def without_boilerplate(texts: Sequence[Sequence[str]]) -> list[Parts]:
    """Return the parts of the texts of one account, which are lists of clean lines.

    The title is the first sentence, up to 12 words. Lines and sentences are compared in lower case.
    """
    units = [[unit for line in lines for unit in _SENTENCE_END.split(line) if unit] for lines in texts]
    times = Counter(key for text in units for key in {unit.casefold() for unit in text})
    return [
        Parts(
            title=" ".join(text[0].split()[:_MOST_TITLE_WORDS]) if text else "",
            own=" ".join(unit for unit in text if times[unit.casefold()] < LEAST_POSTS),
            whole=" ".join(text),
        )
        for text in units
    ]
