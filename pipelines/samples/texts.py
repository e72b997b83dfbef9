"""The texts of the sample creators: phrases of `texts.yaml`, combined by a seeded random generator."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

LONG_TEXT_CHARACTERS = 10_000
WHITESPACE_TEXTS = (" ", "\n\n", "\t", "\u00a0\u00a0", " \u200b ")
_ENTITIES = {"&": ("&amp;", "&AMP;", "&#38;"), "'": ("&#39;", "&#x27;", "&#X27;"), '"': ("&quot;", "&QUOT;")}


@dataclass(frozen=True)
class VerticalPhrases:
    """The phrases of one vertical. `translated` has two subjects for each language other than English."""

    subjects: tuple[str, ...]
    lines: tuple[str, ...]
    details: tuple[str, ...]
    tags: tuple[str, ...]
    shared: tuple[str, ...]
    translated: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Phrasebook:
    """All phrases. `verticals` keeps the order of the file; `testimonials` are (rating, text) pairs."""

    openers: tuple[str, ...]
    closers: tuple[str, ...]
    greetings: tuple[str, ...]
    emoji: tuple[str, ...]
    names: tuple[str, ...]
    brands: tuple[str, ...]
    testimonials: tuple[tuple[int, str], ...]
    frames: Mapping[str, tuple[str, ...]]
    verticals: Mapping[str, VerticalPhrases]


@cache
def load_phrasebook() -> Phrasebook:
    """Return the phrases of `texts.yaml`."""
    found = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
    plain = ("subjects", "lines", "details", "tags", "shared")
    verticals = {
        name: VerticalPhrases(
            **{key: tuple(phrases[key]) for key in plain},
            translated={language: tuple(phrases[language]) for language in found["frames"]},
        )
        for name, phrases in found["verticals"].items()
    }
    return Phrasebook(
        **{key: tuple(found[key]) for key in ("openers", "closers", "greetings", "emoji", "names", "brands")},
        testimonials=tuple((entry["rating"], entry["text"]) for entry in found["testimonials"]),
        frames={language: tuple(frames) for language, frames in found["frames"].items()},
        verticals=verticals,
    )


def compose(rng: random.Random, vertical: str, language: str, subjects: Sequence[str]) -> str:
    """Return a post of a vertical on one of the English `subjects`, or on a translated subject of the vertical."""
    book = load_phrasebook()
    phrases = book.verticals[vertical]
    if language != "en":
        subject = rng.choice(phrases.translated[language])
        sentences = [frame.format(s=subject) for frame in rng.sample(book.frames[language], rng.randint(1, 2))]
    else:
        sentences = [_capitalised(rng.choice(phrases.lines).format(s=rng.choice(subjects)))]
        if rng.random() < 0.25:
            sentences.insert(0, rng.choice(book.openers))
        if rng.random() < 0.75:
            sentences.append(rng.choice(phrases.details))
        if rng.random() < 0.5:
            sentences.append(rng.choice(book.closers))
    if rng.random() < 0.3:
        sentences.append("".join(rng.sample(book.emoji, rng.randint(1, 3))))
    return rng.choice((" ", " ", "\n")).join(sentences)


def decorate(rng: random.Random, text: str, tags: Sequence[str]) -> str:
    """Return the text with additions of real posts: hashtags, a mention, a URL, HTML entities."""
    if rng.random() < 0.12:
        text = f"{text} @{rng.choice(load_phrasebook().names).lower()}_{rng.randrange(100)}"
    if tags and rng.random() < 0.4:
        text = f"{text} {' '.join('#' + tag for tag in tags)}"
    if rng.random() < 0.12:
        text = f"{text} https://link.example.com/{rng.randrange(16**6):06x}?utm_source=bio&ref=Post"
    if rng.random() < 0.06:
        text = "".join(rng.choice(_ENTITIES.get(character, (character,))) for character in text)
    return text


def near_duplicate(rng: random.Random, text: str) -> str:
    """Return the text with one change: a space, an emoji, upper case, or one word."""
    words = text.split(" ")
    kind = rng.choice(("space", "emoji", "capitals", "word") if len(words) > 4 else ("space", "emoji"))
    changed = text
    if kind == "space":
        changed = text.replace(" ", "  ", 1) + " "
    elif kind == "capitals":
        changed = text.upper()
    elif kind == "word":
        words[rng.randrange(len(words))] = rng.choice(("really", "again", "today"))
        changed = " ".join(words)
    return changed if changed != text else f"{text} {rng.choice(load_phrasebook().emoji)}"


def long_text(rng: random.Random, vertical: str, language: str, subjects: Sequence[str]) -> str:
    """Return more than LONG_TEXT_CHARACTERS characters on one vertical, like a transcript pasted as a caption."""
    parts: list[str] = []
    length = 0
    while length <= LONG_TEXT_CHARACTERS:
        parts.append(compose(rng, vertical, language, subjects))
        length += len(parts[-1]) + 1
    return "\n".join(parts)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
