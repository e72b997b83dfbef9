"""The language that a text is written in, by a model that ships inside its package: nothing is fetched."""

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version

from py3langid.langid import MODEL_FILE, LanguageIdentifier

# Goes into the corpus' recipe: another value means that every text is looked at again.
LANGUAGE_MODEL = f"py3langid-{version('py3langid')}/2"
_NO_LANGUAGE = "zxx"  # ISO 639 for what is no language, such as a row of numbers
MIN_PROBABILITY = 0.3
"""Below it the language is unknown."""
MIN_LETTERS = 8
"""Fewer letters say nothing: "Ok", "Haha" and a name are spelled alike in dozens of languages."""
_READ_CHARACTERS = 1_000  # what follows changes nothing, and takes as long as it is
_HANDLE = re.compile(r"[@#]\w+")


def identify(texts: Iterable[str]) -> list[str | None]:
    """The ISO 639 code of each text's language (mostly of two letters), or None where it cannot be told.

    5,000 to 14,000 posts a second on one core. @handles and #tags are not read: they are names. Of 800 tweets in
    English, Spanish, Japanese and Greek (X-Topic) 98.5% are told, and of those 99.6% rightly; of YouTube titles with
    descriptions and tags, nine in ten.
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
