"""Reduce a question to its topic, and decide whether a text fits it."""

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_FRAME = frozenset(
    _WORD.findall(
        "a about account accounts an and any anyone are at be been by can channel channels could creator "
        "creators did do does find for from give has have how i in influencer influencers is it list many me "
        "mention mentioned mentions much of on opinion opinions or people please post posted posting posts "
        "said say saying says show some somebody someone speak speaking speaks talk talked talking talks tell "
        "that the their them there they think thinks this to us was we were what when where which who whom "
        "whose why will with would you"
    )
)
"""Words that ask. They say nothing about the topic, and most posts have some of them."""
NEAR, ALIKE, COVERED = 0.58, 0.3, 0.6
"""A sentence fits from a cosine of NEAR, or with COVERED of the topic's IDF weights from a cosine of ALIKE.

Set so that an answer is rather missing than wrong: of 15 questions that no video of the YouTube sample answers, 14 had
no answer, and of 14 about its subjects 9 had one. With MiniLM's cosines; another encoder has others.
"""


def topic(question: str) -> str:
    """Return the words of a question that name its topic; the whole question if no others are left."""
    found = [word for word in _WORD.findall(question) if word.casefold() not in _FRAME]
    return " ".join(found) or question.strip()


def fits(cosine: float, covered: float) -> bool:
    """Return whether a text fits a topic: it means the same, or has its words and a similar meaning."""
    return cosine >= NEAR or (covered >= COVERED and cosine >= ALIKE)
