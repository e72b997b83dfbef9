"""Search terms of an erasure scan, and its matches in named values, free text and raw bytes."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from resources.erasure.tombstones import ACCOUNT, FIELD_KINDS, KIND_COLUMN_OF, KIND_COLUMNS, Subject

CANARY = "canary"
FREE_TEXT = frozenset(
    ("text", "bio", "summary", "display_name", "hashtags", "brand", "campaign", "vertical", "verticals")
)
"""Columns and fields in which another account may well be spoken of, or that hold a word like its id: they stay."""
_BOUNDS = ("lower", "upper")
_LEAST_TELLING = 6
_TEXTS_AT_ONCE = 32 << 20
_SQL = re.compile(r"'((?:[^']|'')*)'|([A-Za-z_]\w*)")
_OF_WORD = re.compile(rb"[\w-]")
_SQL_WORDS = {"IN", "AND", "OR", "NOT", "IS", "NULL"}


@dataclass(frozen=True)
class Needles:
    """An account, and texts (canaries) that are known to stand in its data and nowhere else."""

    subject: Subject
    canaries: tuple[str, ...] = ()

    @cached_property
    def is_telling(self) -> bool:
        """Whether the account's id is looked for in free text and raw bytes too: "42" would be found everywhere."""
        id_ = self.subject.account_id
        return len(id_) >= _LEAST_TELLING and not id_.isdigit()

    @cached_property
    def as_word(self) -> "re.Pattern[str]":
        """The account's id where it is not a part of a longer one."""
        return re.compile(rf"(?<![\w-]){re.escape(self.subject.account_id)}(?![\w-])", re.ASCII)

    def in_bytes(self, chunk: bytes, *, as_word: bool) -> int:
        """How often the id stands in raw bytes: as a text of CBOR, which its length precedes, or as a word too."""
        id_, found, at = self.subject.account_id.encode(), 0, -1
        head = cbor_text(id_)[: -len(id_)]
        while (at := chunk.find(id_, at + 1)) >= 0:  # not a regular expression, which is ten times slower
            around = chunk[max(0, at - 1) : at], chunk[at + len(id_) : at + len(id_) + 1]
            is_word = as_word and not any(_OF_WORD.match(byte) for byte in around)
            found += is_word or chunk[max(0, at - len(head)) : at] == head
        return found

    @cached_property
    def patterns(self) -> Mapping[str, str]:
        """What to look for in texts → canary: itself, and as it looks when its bytes are read as Latin-1."""
        bytewise = {canary.encode().decode("latin-1"): canary for canary in self.canaries}
        return {**bytewise, **{canary: canary for canary in self.canaries}}

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest thing that is looked for."""
        return max([len(self.subject.account_id.encode()) + 8, *map(len, self.patterns), 64])


class CanarySearch:
    """Looks for all canaries at once in the texts of many objects. Memory: 32 MB of text.

    Texts are held back, since an automaton of 20,000 canaries takes half a second to make for each search.
    """

    def __init__(self, needles: Needles) -> None:
        self._patterns = needles.patterns
        self._lock = threading.Lock()
        self._texts: list[tuple[Sightings, str]] = []
        self.held = 0

    def add(self, seen: "Sightings", text: str) -> None:
        """Take a text of an object; what is found in it is added to ``seen``, now or when others have come."""
        if self._patterns:
            with self._lock:
                self._texts.append((seen, text))
                self.held += len(text)
                if self.held > _TEXTS_AT_ONCE:
                    self._search()

    def flush(self) -> None:
        """Look at all texts that were held back."""
        with self._lock:
            self._search()

    def _search(self) -> None:
        texts = pl.Series([text for _, text in self._texts], dtype=pl.String)
        found = texts.str.extract_many(list(self._patterns), overlapping=True).to_list() if self._texts else []
        for (seen, _), patterns in zip(self._texts, found, strict=True):
            if patterns:
                seen.counts[CANARY] += len(patterns)
                seen.canaries |= {self._patterns[pattern] for pattern in patterns}
        self._texts, self.held = [], 0


@dataclass
class Sightings:
    """What was seen in one object: kind → how often, and which of the canaries once ``search`` was flushed."""

    needles: Needles
    search: CanarySearch
    counts: "Counter[str]" = field(default_factory=Counter)
    canaries: set[str] = field(default_factory=set)

    def named(self, name: str, values: Iterable[str], kinds: Sequence[str] | None = None) -> None:
        """Look at distinct values of a column or field; those that name something are compared as ids."""
        subject = self.needles.subject
        of_name = FIELD_KINDS.get(name, ()) if kinds is None else kinds
        for value in values:
            for kind in of_name:
                self.counts[kind] += subject.owns((kind,), value)
            self.search.add(self, value)
            if not of_name and kinds is None:
                self._free(name, value)

    def _free(self, name: str, value: str) -> None:
        """A value of a field that names nothing known: JSON, or what a commit logs, or the account's own id."""
        if name in FREE_TEXT or (value.startswith(("{", "[")) and self.json_text(value)):
            return
        self.sql(value)

    def texts(self, values: Iterable[str | None]) -> None:
        """Look for canaries in the texts of a column, which are kept apart by a character that no text has."""
        if self.needles.canaries:
            self.search.add(self, "\0".join(value for value in values if value is not None))

    def json_text(self, text: str) -> bool:
        """Look at a JSON document; False when it is none."""
        try:
            document = json.loads(text)
        except ValueError:
            return False
        self.document("", document)
        return True

    def document(self, name: str, value: Any) -> None:
        """Look at every name and text of a JSON value."""
        if isinstance(value, Mapping):
            for key, below in value.items():
                sign = value.get(KIND_COLUMN_OF.get(key, ""))
                if isinstance(sign, str) and isinstance(below, str | int):
                    self.named(key, (str(below),), KIND_COLUMNS[KIND_COLUMN_OF[key]].get(sign))
                else:
                    # The bounds of a plan's ranges are keys of whichever table it is of.
                    self.document("row_key" if name == "ranges" and key in _BOUNDS else str(key), below)
        elif isinstance(value, list):
            for below in value:
                self.document(name, below)
        elif isinstance(value, str):
            self.named(name, (value,))
        elif isinstance(value, int) and name in FIELD_KINDS:
            self.named(name, (str(value),))

    def sql(self, text: str) -> None:
        """Look at the literals of a condition, as commits log them: each belongs to the column named before it."""
        column, literals = "", 0
        for literal, word in _SQL.findall(text):
            if word:
                column = column if word.upper() in _SQL_WORDS else word
            elif column in FIELD_KINDS:
                self.named(column, (literal.replace("''", "'"),))
                literals += 1
        if not literals and self.needles.is_telling:
            self.counts[ACCOUNT] += len(self.needles.as_word.findall(text))

    def raw(self, chunk: bytes, *, as_word: bool = True) -> None:
        """Look at bytes that nothing decodes; without ``as_word``, where others' texts may speak of the account."""
        if self.needles.is_telling:
            self.counts[ACCOUNT] += self.needles.in_bytes(chunk, as_word=as_word)
        if self.needles.canaries:
            self.search.add(self, chunk.decode("latin-1"))

    @property
    def seen(self) -> dict[str, int]:
        """Kind → how often, without zeros."""
        return {kind: count for kind, count in sorted(self.counts.items()) if count}


def cbor_text(text: bytes) -> bytes:
    """A text as CBOR holds it: its length, then itself."""
    length = len(text)
    if length < 24:
        return bytes([0x60 + length]) + text
    return (bytes([0x78, length]) if length < 256 else b"\x79" + length.to_bytes(2, "big")) + text
