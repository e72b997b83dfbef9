"""What a question asks for: accounts, a thing with a name, or words about a topic; and the names that it has."""

import re
from enum import Enum, auto

_WORD = re.compile(r"\w+(?:['’&-]\w+)*")
_OWNER = re.compile(r"['’]s?$")
_ACCOUNTS = re.compile(
    r"\b(?:who|anyone|anybody|somebody|someone)\b"
    r"|\b(?:which|what)\s+(?:(?!do\b|does\b|did\b|kinds?\b)\w+\s+)?(?:accounts?|channels?|creators?|influencers?|people|shows?|users?|\w*vloggers?"
    r"|\w*bloggers?|youtubers?|reviewers?)\b"
    r"|^(?:qui|quién|quiénes|quem|wer|chi|кто)\b"
    r"|\bquel(?:le)?s?\s+(?:créat\w+|chaînes?|comptes?|influenc\w+|youtub\w+)\b"
    r"|\b(?:qué|quais|que|welche|какие)\s+(?:cread\w+|criador\w+|canal\w*|kanäle|cuentas|contas|блогер\w*|канал\w*)\b",
    re.IGNORECASE,
)
_WORDS = re.compile(
    r"\b(?:say|says|said|think|thinks|thought|opinions?|feel|react|happened|why|how)\b"
    r"|\b(?:disent|dit|pense\w*|avis|pourquoi|comment|dice\w*|opina\w*|dizem|por qu[eé]|warum|wie)\b"
    r"|\b(?:говорят|думают|почему)\b",
    re.IGNORECASE,
)
_THING = re.compile(
    r"\b(?:which|what|where|quel(?:le)?s?|où|qué|cuál(?:es)?|dónde|qual|quais|onde|welche\w*|wo|какие|какой|каких|какую"
    r"|какая|где)\b",
    re.IGNORECASE,
)
_GERMAN = re.compile(r"\b(?:der|die|das|den|dem|ein|eine|und|über|wer|wie|was|welche\w*|für|mit)\b")
"""In German every noun has a capital, so a capital is no sign of a name."""


class Asked(Enum):
    """What answers a question."""

    ACCOUNTS = auto()
    THING = auto()
    WORDS = auto()


def asked(question: str) -> Asked:
    """Return what a question asks for. A text that asks nothing is a topic: its accounts are asked for."""
    first = {kind: found.start() for kind, kind_of in _KINDS if (found := kind_of.search(question))}
    if Asked.ACCOUNTS in first and first[Asked.ACCOUNTS] == min(first.values()):
        return Asked.ACCOUNTS
    kinds = [kind for kind in (Asked.WORDS, Asked.THING) if kind in first]
    return kinds[0] if kinds else Asked.WORDS if question.rstrip().endswith("?") else Asked.ACCOUNTS


_KINDS = ((Asked.ACCOUNTS, _ACCOUNTS), (Asked.WORDS, _WORDS), (Asked.THING, _THING))


def names(question: str) -> list[str]:
    """Return the names and numbers of a question: words with a capital or a digit, but for the first word."""
    words = [_OWNER.sub("", word) for word in _WORD.findall(question)[1:]]
    found = [word for word in words if any(map(str.isdigit, word)) or any(map(str.isupper, word))]
    return [] if _GERMAN.search(question) else found
