"""Claims of a language model: their JSON schema, and whether the cited posts carry them. Posts are data, whatever they
say."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from assets.transforms.text.marks import limit_marks

MOST_CLAIMS, LONGEST_CLAIM = 8, 400
NO_POST, NOT_SAID = "It cites no post that was found.", "Its posts do not say so."
_NUMBER = re.compile(r"[$€£¥₹]?\s?\d+(?:[.,:]\d+)*(?:\s?[%€£¥₹$])?")
_NUMBER_WORDS = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|hundreds?|thousands?|millions?|"
    r"billions?|half|twice|double)\b",
    re.IGNORECASE,
)
_DIGITS = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}
_WORD = re.compile(r"[^\W\d_][\w’'-]*")
_DAY = re.compile(r"\s\d")
_SENTENCE_START = re.compile(r"(?:^|[.!?:…]\s|[\"“«(])\s*")
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|without|cannot|neither|nor|hardly)\b|n['’]t\b|"
    r"\b(?:nicht|kein\w*|nie|niemals|ohne|pas|jamais|sans|nunca|sin|não|nunca|sem|jamás|ningun\w*|non|mai|senza|"
    r"niet|geen|nooit|не|нет|без|никогда|nie|bez|değil|yok|без|δεν|μην|χωρίς)\b|"
    r"ない|ません|ず、|不|没|沒|无|않|없|못|नहीं|(?:^|\s)(?:لا|ليس|لم|لن)\s",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Claim:
    """One statement and the ids of the posts that it rests on. A quote has the account that said it."""

    text: str
    post_ids: tuple[str, ...]
    account_id: str | None = None


@dataclass(frozen=True)
class DroppedClaim:
    """A claim of a model that is not shown, and why."""

    text: str
    reason: str


@dataclass(frozen=True)
class Said:
    """A sentence of a post, and its unit vector."""

    post_id: str
    text: str
    vector: NDArray[np.float32]


def schema(post_ids: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of an answer; only these post ids can be cited."""
    ids = {"type": "array", "items": {"type": "string", "enum": list(post_ids)}}
    claim = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "post_ids": ids},
        "required": ["text", "post_ids"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"claims": {"type": "array", "items": claim}},
        "required": ["claims"],
        "additionalProperties": False,
    }


def complete_claims(text: str) -> list[Any]:
    """Return the claims of an answer that is still being written: all but the last, which may lack words or ids."""
    try:
        value = from_json(text, allow_partial=True)
    except ValueError:
        return []
    found = value.get("claims") if isinstance(value, dict) else None
    return found[:-1] if isinstance(found, list) else []


def parsed(value: Any, known: Collection[str]) -> tuple[list[Claim], list[DroppedClaim]]:
    """Return the claims of a model's answer with the known ids alone, and those that cite none of them.

    Anything else than the schema has no claims. The same text counts once.
    """
    found = value.get("claims") if isinstance(value, dict) else None
    claims: dict[str, Claim] = {}
    dropped = []
    for each in (found if isinstance(found, list) else [])[:MOST_CLAIMS]:
        if not isinstance(each, dict) or not isinstance(each.get("text"), str) or not each["text"].strip():
            continue
        text = " ".join(each["text"].split())[:LONGEST_CLAIM]
        cited = each.get("post_ids")
        ids = [id_ for id_ in (cited if isinstance(cited, list) else []) if isinstance(id_, str) and id_ in known]
        if ids:
            claims.setdefault(text, Claim(text, tuple(dict.fromkeys(ids))))
        else:
            dropped.append(DroppedClaim(text, NO_POST))
    return list(claims.values()), dropped


def supported(claim: Claim, vector: NDArray[np.float32], said: Sequence[Said], least: float) -> tuple[Claim, str]:
    """Return the claim with the posts alone whose nearest sentence has at least this cosine, and the nearest sentence.

    ``vector`` is the claim's. The posts are ordered, the nearest first. A cosine finds missing evidence; it cannot tell
    a claim from its negation, so `contradiction` must be asked too.
    """
    nearest: dict[str, tuple[float, str]] = {}
    for sentence in said:
        if sentence.post_id in claim.post_ids:
            found = round(float(sentence.vector @ vector), 6), sentence.text
            nearest[sentence.post_id] = max(nearest.get(sentence.post_id, (-1.0, "")), found)
    ordered = sorted(nearest, key=lambda post_id: (-nearest[post_id][0], post_id))
    kept = tuple(post_id for post_id in ordered if nearest[post_id][0] >= least)
    return Claim(claim.text, kept, claim.account_id), nearest[ordered[0]][1] if ordered else ""


def contradiction(claim: str, cited: Sequence[str], best: str, language: str = "") -> str | None:
    """Return why the cited posts cannot carry a claim, by its exact words; None if nothing speaks against it.

    ``cited`` are texts and names of the posts' accounts, ``best`` is the sentence that the claim is nearest to.
    ``language`` is the claim's: German writes every noun as names are written.
    """
    said = unicodedata.normalize("NFKC", limit_marks(" ".join(cited)))
    claim = unicodedata.normalize("NFKC", limit_marks(claim))
    numbers = {_bare(number) for number in _NUMBER.findall(said)}
    numbers |= {number.strip("$€£¥₹% ") for number in numbers}
    if missing := [number for number in map(_bare, _NUMBER.findall(claim)) if number not in numbers]:
        return f"Its posts do not have the number {missing[0]}."
    folded = said.casefold()
    for word in _NUMBER_WORDS.findall(claim):
        if word.casefold() not in folded and _DIGITS.get(word.casefold(), "-") not in numbers:
            return f"Its posts do not have the number {word}."
    if absent := [name for name in _names(claim, language) if name.casefold() not in folded]:
        return f"Its posts do not have the name {absent[0]}."
    if bool(_NEGATION.search(claim)) != bool(_NEGATION.search(best)):
        return "It says the opposite of its posts, or may do so."
    return None


def _bare(number: str) -> str:
    """Return a number with its sign of money or per cent, without spaces."""
    return re.sub(r"\s", "", number)


def _names(claim: str, language: str) -> Iterator[str]:
    """Yield words that are written as names are.

    The first word of a sentence counts if the next one is written so too, or is a number as in a date. In German a
    word counts only beside another.
    """
    words = [(found, found.group()[0].isupper()) for found in _WORD.finditer(claim)]
    starts = {found.end() for found in _SENTENCE_START.finditer(claim)}
    for place, (found, is_name) in enumerate(words):
        after = (place + 1 < len(words) and words[place + 1][1]) or bool(_DAY.match(claim, found.end()))
        before = place > 0 and words[place - 1][1]
        if is_name and (after or found.start() not in starts) and (language != "de" or after or before):
            yield re.sub(r"['’]s$", "", found.group())
