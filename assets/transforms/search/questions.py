"""Reduce a question to its topic."""

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


def topic(question: str) -> str:
    """Return the words of a question that name its topic; the whole question if no others are left."""
    found = [word for word in _WORD.findall(question) if word.casefold() not in _FRAME]
    return " ".join(found) or question.strip()
