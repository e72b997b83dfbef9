"""Cut a post into the parts that may be quoted: its title, its sentences, and its lists under their headings."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import groupby

from assets.transforms.summaries.sentences import is_filler
from assets.transforms.text.sentences import sentences

LONGEST_CHARACTERS = 400
_LONGEST_TITLE, _WORDS_OF_ITEM, _FEWEST_ITEMS, _WORDS_OF_LABEL, _COMMAS_OF_TAGS = 200, 10, 2, 20, 3
_SENTENCE_END = tuple(".!?…。！？।؟")
_MARK = re.compile(r"^[\s•·*▪●○◦►▶➜→✓✔–—-]+|[\s|:►▶➜→↓–—-]+$")
_FIRST = re.compile(r"^\s*(?:(\d)|([•·*▪●○◦►▶➜→✓✔–—-]))")
_DIGIT = "digit"
_HASHTAGS = re.compile(r"(?:[#＃][^\s#＃]++[\s.,!·]*+)++")
_WORD, _REPEATED = re.compile(r"[^\W\d_]+"), 3
_REFERS = re.compile(
    r"^(?:\w+, )?(?:it|its|it[’']s|this|these|that|those|they|their|he|she|his|her|there|such|both"
    r"|il|elle|ils|elles|cela|ça|cette|ce|ces|es|sie|diese\w*|esto|estos|ellos|ele|ela|eles|isso"
    r"|он|она|они|оно|это|эти)\b",
    re.IGNORECASE,
)
"""A sentence that begins with such a word says something of what the sentence before it names."""


class Form(Enum):
    """What kind of part it is. A list has a heading. An item is a short line of no list, or a call such as to buy."""

    TITLE = auto()
    PROSE = auto()
    LIST = auto()
    ITEM = auto()


@dataclass(frozen=True)
class Part:
    """A part of a post that may be quoted, and the sentence that follows it in its paragraph, if any."""

    text: str
    form: Form = Form.PROSE
    then: str = ""

    @property
    def with_next(self) -> str:
        """Return the part with the sentence that follows, if both are short enough."""
        both = f"{self.text} {self.then}"
        return both if self.then and len(both) <= LONGEST_CHARACTERS else self.text


def parts(lines: Sequence[str]) -> list[Part]:
    """Return the parts of a post's clean lines, in order, each once. Of several lines the first is the title.

    Tags alone and lists of tags are left out. A title that is the heading of a list is only in that list. A sentence
    that refers back comes with the one before.
    """
    if not lines:
        return []
    title, rest = lines[0], lines[1:]
    is_title = bool(rest) and len(title) <= _LONGEST_TITLE
    found = [Part(title, Form.TITLE)] if is_title else _prose(title)
    before = title
    for is_item, run in groupby(rest, _is_item):
        block = [*run]
        heading = before if before is title or (before.endswith(":") and not is_filler(_bare(before))) else ""
        found += _lists(heading, block) if is_item else [part for line in block for part in _line(line)]
        before = block[-1]
    if any(part.form is Form.LIST and part.text.startswith(f"{_bare(title)}: ") for part in found):
        found = [part for part in found if part.form is not Form.TITLE]
    said = [part for part in found if not _HASHTAGS.fullmatch(part.text)]
    return list({part.text: part for part in reversed(said)}.values())[::-1]


def _line(line: str) -> list[Part]:
    """Return the sentences of a line below the title. One without an end is a label, unless it is long."""
    if line.endswith(_SENTENCE_END) or len(line.split()) > _WORDS_OF_LABEL or len(found := _prose(line)) > 1:
        return _prose(line)
    return [replace(part, form=Form.ITEM) for part in found]


def _prose(line: str) -> list[Part]:
    """Return the sentences of a line."""
    said = [text for text in sentences(line) if len(text) <= LONGEST_CHARACTERS]
    found = list[Part]()
    for before, text, after in zip(["", *said], said, [*said[1:], ""], strict=False):
        if is_filler(text):
            found += [Part(text, Form.ITEM)] if text.count(",") < _COMMAS_OF_TAGS else []
            continue
        both = f"{before} {text}"
        refers = before and not is_filler(before) and _REFERS.match(text) and len(both) <= LONGEST_CHARACTERS
        found.append(Part(both if refers else text, Form.PROSE, "" if is_filler(after) else after))
    return found


def _is_item(line: str) -> bool:
    return len(line.split()) <= _WORDS_OF_ITEM and not line.endswith(_SENTENCE_END) and not is_filler(_bare(line))


def _bare(line: str) -> str:
    return _MARK.sub("", line)


def _lists(heading: str, lines: Sequence[str]) -> Iterator[Part]:
    """Yield each list of a run of short lines, and a line alone as an item."""
    marks = [_mark(line) for line in lines]
    usual = max(sorted(set(marks)), key=marks.count)
    items = list[str]()

    def made() -> Iterator[Part]:
        if len(items) >= _FEWEST_ITEMS and heading and not _repeats(items):
            yield Part(_joined(heading, items), Form.LIST)
        else:
            yield from (Part(text, Form.ITEM) for text in items)

    for line, mark in zip(lines, marks, strict=True):
        if (usual and mark != usual) or (mark in ("", _DIGIT) and line.endswith(":")):
            yield from made()
            heading, items = "" if is_filler(_bare(line)) else line, []
        else:
            items.append(_bare(line))
    yield from made()


def _repeats(items: Sequence[str]) -> bool:
    """Return whether the same words come again and again, as in a list of keywords."""
    words = _WORD.findall(" ".join(items).casefold())
    return _REPEATED * len(set(words)) < len(words)


def _mark(line: str) -> str:
    """Return how an item of a list begins: with a digit, a bullet, or neither."""
    found = _FIRST.match(line)
    return "" if found is None else _DIGIT if found[1] else found[2]


def _joined(heading: str, items: Sequence[str]) -> str:
    text = f"{_bare(heading)}: {items[0]}"
    for item in items[1:]:
        if len(text) + len(item) > LONGEST_CHARACTERS:
            break
        text = f"{text} · {item}"
    return text
