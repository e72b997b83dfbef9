"""Identify the language of a text, with a model that is part of its package: nothing is downloaded."""

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version

from py3langid.langid import MODEL_FILE, LanguageIdentifier

# Part of the version of corpus rows: another value identifies the language of every text again.
LANGUAGE_MODEL = f"py3langid-{version('py3langid')}/2"
_NO_LANGUAGE = "zxx"  # ISO 639 for text without language, such as numbers
MIN_PROBABILITY = 0.3
"""With a lower probability the language is unknown."""
MIN_LETTERS = 8
"""With fewer letters the language is unknown: "Ok", "Haha" and names are spelled alike in dozens of languages."""
_READ_CHARACTERS = 1_000  # more characters change no result and take time
_HANDLE = re.compile(r"[@#]\w+")


def identify(texts: Iterable[str]) -> list[str | None]:
    """Return the ISO 639 code of each text's language (mostly two letters), or None when it is unknown.

    5,000 to 14,000 posts a second on one core. @handles and #tags are skipped: they are names. Of 800 tweets in
    English, Spanish, Japanese and Greek (X-Topic) 98.5% get a language, 99.6% of them the right one; of YouTube titles
    with descriptions and tags, nine in ten.
    """
    return [_identify(text) for text in texts]


def _identify(text: str) -> str | None:
    read = _HANDLE.sub(" ", text[:_READ_CHARACTERS])
    if sum(character.isalpha() for character in read) < (MIN_LETTERS if read.isascii() else MIN_LETTERS // 2):
        return None
    language, probability = _model().classify(read)
    return language if probability >= MIN_PROBABILITY and language != _NO_LANGUAGE else None


@lru_cache(maxsize=1)
def _model() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
