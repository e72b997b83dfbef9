"""The terms of a text and of a query for BM25, in every script. The only place that decides what a word is."""

import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import pairwise

import Stemmer
from icu4py.breakers import WordBreaker

from resources.models import forms
from resources.models.folding import fold

Split = Callable[[str], list[str]]
ANALYZER = "scripts-2"
"""Part of the version of everything that holds terms: change it when a text gets other terms."""
_LONGEST_STEMMED = 64
"""Characters of the longest word that is stemmed, or whose terms are cached. Longer ones are no words."""
_CACHED_GROUPS = 50_000
_MOST_JOINED = 12
"""Parts of the longest group, such as #VeganRecipesOfTheDay, that is a term as a whole too."""
_STEMMERS = (
    ("[a-z]", "english"),
    ("[\u0400-\u052f]", "russian"),
    ("[\u0370-\u03ff]", "greek"),
    ("[\u0600-\u06ff]", "arabic"),
    ("[\u0900-\u097f]", "hindi"),
    ("[\u0b80-\u0bff]", "tamil"),
    ("[\u0530-\u058f]", "armenian"),
)
"""One stemmer for a script: a query does not state its language, and equal words must stay equal. English stems raised
nDCG@10 of the verticals' descriptions from .250 to .290 on tweets in four languages."""
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f\ua9e0-\ua9ff"
"""Thai, Lao, Burmese and Khmer: ICU has dictionaries of their words."""
_PAIRED = (
    "\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
"""Han, kana and Hangul become overlapping character pairs, as in Lucene's CJKAnalyzer. They depend on no context, so a
query finds its exact text (Japanese tweets: .134, words of a segmenter .119, whole runs .003)."""
_APOSTROPHES = "'’ʼ`´"
_JOINERS = rf"{_APOSTROPHES}\-‐‑&._·״׳\"”"
_ENGLISH_STOP_WORDS = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it
its itself they them their theirs themselves what which who whom this that these those am is are was were be been
being have has had having do does did doing a an the and but if or because as until while of at by for with about
against between into through during before after above below to from up down in out on off over under again further
then once here there when where why how all any both each few more most other some such no nor not only own same so
than too very s t can will just don should now d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn ma
mightn mustn needn shan shouldn wasn weren won wouldn youre youve youll youd shes thatll dont shouldve arent cant
couldnt didnt doesnt hadnt hasnt havent isnt mightnt mustnt neednt shant shouldnt wasnt werent wont wouldnt im ive
hes theyre theyve theyll weve thats whats theres lets
"""
_STOP_WORDS = frozenset(_ENGLISH_STOP_WORDS.split())
"""As in NLTK. Documents keep them, so that a query of nothing else, such as The Who, finds something."""
_TAG = re.compile(r"[#＃@＠]([^\W_][\w·]*)")


def document_terms(text: str) -> list[str]:
    """Return the terms of a document, repeated as they occur.

    A single character of Han, kana or Hangul is a term too, so that a query of one character finds it.
    """
    return [term for group in _groups(text) for _, term in _of_group(group, _singles_and_pairs)]


def query_terms(text: str) -> list[str]:
    """Return the distinct terms of a query in order, without English stop words unless there is nothing else."""
    found = [pair for group in _groups(text) for pair in _of_group(group, _pairs)]
    chosen = [pair for pair in found if pair[0] not in _STOP_WORDS] or found
    return list(dict.fromkeys(term for _, term in chosen))


def query_forms(text: str) -> list[tuple[str, list[str]]]:
    """Return terms of other spellings of a query's words, each with the terms that it stands for."""
    groups = _groups(text)
    words = dict.fromkeys(pair for group in groups for pair in _of_group(group, _pairs))
    whole = [*forms.joined(groups), *((form, [word]) for word, _ in words for form in forms.other_forms(word))]
    stem_of = dict(words)
    return [(_stem(form), [stem_of.get(part) or _stem(part) for part in parts]) for form, parts in whole]


def _groups(text: str) -> list[str]:
    """Return the words of a folded text, and words that joiners hold together."""
    groups = _word_pattern().findall(fold(_TAG.sub(_split_tag, text)))
    found = [group for group in groups if any(map(str.isalnum, group))]
    # Without a word, letters that fold into nothing, such as isolated vowel signs.
    return found or [character for character in text if character.isalnum()]


def _of_group(group: str, split: Split) -> tuple[tuple[str, str], ...]:
    """Return the words of a group with their stems. Most words of a text are in the cache."""
    return _stemmed_once(group, split) if len(group) <= _LONGEST_STEMMED else _stemmed(group, split)


@lru_cache(maxsize=_CACHED_GROUPS)
def _stemmed_once(group: str, split: Split) -> tuple[tuple[str, str], ...]:
    return _stemmed(group, split)


def _stemmed(group: str, split: Split) -> tuple[tuple[str, str], ...]:
    return tuple((word, _stem(word)) for word in _words(group, split))


def _words(group: str, split: Split) -> Iterator[str]:
    """Yield the words of a group: wi-fi is ``wi``, ``fi`` and ``wifi``; U.S.A. is ``usa``."""
    parts = [part for part in _joiner_pattern().split(group) if any(map(str.isalnum, part))]
    if len(parts) <= 1:  # the modifier apostrophe of Ukrainian is a letter, and may stand alone
        yield from _of_word(parts[0] if parts else group, split)
        return
    is_acronym = "." in group and all(len(part) == 1 and part.isalpha() for part in parts)
    if not is_acronym:
        has_apostrophe = any(mark in group for mark in _APOSTROPHES)
        for part in parts:
            # An apostrophe cuts single letters off: l'Oréal, rock'n'roll, Nike's. A character of Han is a word.
            if len(part) > 1 or not has_apostrophe or _is_unspaced(part):
                yield from _of_word(part, split)
    joined = "".join(parts)
    # Not a number, such as 2.5, nor the name of a host.
    is_name = "." not in group and len(parts) <= _MOST_JOINED and not joined.isdigit()
    if (is_acronym or is_name) and (joined.isascii() or not _is_unspaced(joined)):
        yield joined


def _of_word(word: str, split: Split) -> Iterator[str]:
    if word.isascii():
        yield word
        return
    for run in _run_pattern().finditer(word):
        if run.lastgroup == "unspaced":
            yield from _segmented(run[0])
        elif run.lastgroup == "paired":
            yield from split(run[0])
        else:
            yield run[0]


def _is_unspaced(word: str) -> bool:
    return any(run.lastgroup != "word" for run in _run_pattern().finditer(word))


def _segmented(run: str) -> list[str]:
    return [word for word in WordBreaker(run, "en") if any(map(str.isalnum, word))] or [run]


def _pairs(run: str) -> list[str]:
    return [first + second for first, second in pairwise(run)] or [run]


def _singles_and_pairs(run: str) -> list[str]:
    return [*run, *(first + second for first, second in pairwise(run))]


def _split_tag(tag: re.Match[str]) -> str:
    """Return a hashtag or handle with hyphens between its words, as capitals and digits show them."""
    word, pieces, start = tag[1], list[str](), 0
    for place in range(1, len(word)):
        before, here, after = word[place - 1], word[place], word[place + 1 : place + 2]
        is_word = here.isupper() and (not before.isupper() or after.islower())
        is_number = here.isdigit() != before.isdigit()
        is_lone = place - start == 1 and before.islower()  # iPhone, eSports
        if (is_word or is_number) and not is_lone:
            pieces.append(word[start:place])
            start = place
    return " " + "-".join([*pieces, word[start:]])


class _Stemmers(threading.local):
    """The stemmers of a thread: two threads must not use one."""

    def __init__(self) -> None:
        self.by_script = [(re.compile(first), Stemmer.Stemmer(name)) for first, name in _STEMMERS]


_stemmers = _Stemmers()


def _stem(word: str) -> str:
    if word[0].isalpha() and len(word) <= _LONGEST_STEMMED:
        for script, stemmer in _stemmers.by_script:
            if script.match(word):
                return str(stemmer.stemWord(word)) or word
    return word


@cache
def _word_pattern() -> re.Pattern[str]:
    """Return a pattern of words with their marks, and of groups of words that joiners hold together."""
    word = f"[\\w{_marks()}]+"
    return re.compile(f"{word}(?:[{_JOINERS}]{{1,2}}{word})*")


@cache
def _run_pattern() -> re.Pattern[str]:
    return re.compile(f"(?P<unspaced>[{_UNSPACED}]+)|(?P<paired>[{_PAIRED}]+)|(?P<word>[^{_UNSPACED}{_PAIRED}]+)")


@cache
def _joiner_pattern() -> re.Pattern[str]:
    return re.compile(f"[{_JOINERS}]+")


@cache
def _marks() -> str:
    """Return the marks of all scripts for a character class: vowel signs of Indic and Thai words are marks."""
    return "".join(chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
