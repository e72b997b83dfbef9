"""Search terms of an erasure scan, and their matches in named values, free text and raw bytes."""

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
"""Columns and fields where other accounts may mention the account. An id in them is no match."""
_BOUNDS = ("lower", "upper")
_SHORTEST_DISTINCTIVE_ID = 6
_BUFFERED_CHARACTERS = 32 << 20
_SQL = re.compile(r"'((?:[^']|'')*)'|([A-Za-z_]\w*)")
_SQL_WORDS = {"IN", "AND", "OR", "NOT", "IS", "NULL"}


@dataclass(frozen=True)
class SearchTerms:
    """An account, and canaries: texts that occur in its data and nowhere else."""

    subject: Subject
    canaries: tuple[str, ...] = ()

    @cached_property
    def is_distinctive(self) -> bool:
        """Whether to search free text and raw bytes for the id. A number or a short id would match everywhere."""
        id_ = self.subject.account_id
        return len(id_) >= _SHORTEST_DISTINCTIVE_ID and not id_.isdigit()

    @cached_property
    def patterns(self) -> Mapping[str, str]:
        """Pattern → canary. Each canary is its own pattern, and so are its UTF-8 bytes decoded as Latin-1."""
        as_latin_1 = {_as_latin_1(canary): canary for canary in self.canaries}
        return {**as_latin_1, **{canary: canary for canary in self.canaries}}

    @cached_property
    def longest(self) -> int:
        """Length of the longest term in bytes."""
        return max([len(self.subject.account_id.encode()) + 2, *map(len, self.patterns), 64])

    def count_id(self, text: str, *, is_latin_1: bool = False) -> int:
        """Return how often the account's id occurs as a whole word; 0 if the id is not distinctive."""
        id_ = _as_latin_1(self.subject.account_id) if is_latin_1 else self.subject.account_id
        if not self.is_distinctive or id_ not in text:  # ten times faster than the expression alone
            return 0
        return len(re.findall(rf"(?<![\w-]){re.escape(id_)}(?![\w-])", text, re.ASCII))


def _as_latin_1(text: str) -> str:
    return text.encode().decode("latin-1")


class CanarySearch:
    """Searches buffered texts for all canaries at once. Memory: 32 MB of text.

    The buffer exists because building an automaton of 20,000 canaries takes half a second for each search.
    """

    def __init__(self, terms: SearchTerms) -> None:
        self._patterns = terms.patterns
        self._lock = threading.Lock()
        self._texts: list[tuple[Matches, str]] = []
        self.buffered = 0

    def add(self, matches: "Matches", text: str) -> None:
        """Buffer a text. Its canaries are added to ``matches`` when the buffer is searched."""
        if self._patterns:
            with self._lock:
                self._texts.append((matches, text))
                self.buffered += len(text)
                if self.buffered > _BUFFERED_CHARACTERS:
                    self._search()

    def flush(self) -> None:
        """Search the buffered texts."""
        with self._lock:
            self._search()

    def _search(self) -> None:
        texts = pl.Series([text for _, text in self._texts], dtype=pl.String)
        found = texts.str.extract_many(list(self._patterns), overlapping=True).to_list() if self._texts else []
        for (matches, _), patterns in zip(self._texts, found, strict=True):
            if patterns:
                matches.counts[CANARY] += len(patterns)
                matches.canaries |= {self._patterns[pattern] for pattern in patterns}
        self._texts, self.buffered = [], 0


@dataclass
class Matches:
    """Matches in one object: kind → count. Canaries are complete after ``search.flush()``."""

    terms: SearchTerms
    search: CanarySearch
    counts: "Counter[str]" = field(default_factory=Counter)
    canaries: set[str] = field(default_factory=set)

    @property
    def by_kind(self) -> dict[str, int]:
        """Kind → count, without zeros."""
        return {kind: count for kind, count in sorted(self.counts.items()) if count}

    def search_values(self, name: str, values: Iterable[str], kinds: Sequence[str] | None = None) -> None:
        """Search the distinct values of a column or field. Compare them as ids if ``name`` or ``kinds`` says so."""
        of_name = FIELD_KINDS.get(name, ()) if kinds is None else kinds
        for value in values:
            for kind in of_name:
                self.counts[kind] += self.terms.subject.owns((kind,), value)
            self.search.add(self, value)
            is_other_field = not of_name and kinds is None and name not in FREE_TEXT
            if is_other_field and not (value.startswith(("{", "[")) and self.search_json(value)):
                self._search_sql(value)

    def search_texts(self, values: Iterable[str | None]) -> None:
        """Search the texts of a column for canaries only. A zero byte separates the texts."""
        if self.terms.canaries:
            self.search.add(self, "\0".join(value for value in values if value is not None))

    def search_json(self, text: str) -> bool:
        """Search a JSON document. Return False if the text cannot be parsed, too deep a nesting included."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return False
        self.search_document(document)
        return True

    def search_document(self, document: Any) -> None:
        """Search every name and text of a JSON value, without recursion."""
        pending = [("", document)]
        while pending:
            name, value = pending.pop()
            if isinstance(value, Mapping):
                pending += self._search_mapping(name, value)
            elif isinstance(value, list):
                pending += [(name, item) for item in value]
            elif isinstance(value, str) or (isinstance(value, int) and name in FIELD_KINDS):
                self.search_values(name, (str(value),))

    def _search_mapping(self, name: str, mapping: Mapping[Any, Any]) -> list[tuple[str, Any]]:
        """Search the values whose kind a neighbour states, and return the others by name."""
        others = []
        for key, value in mapping.items():
            kind_column = KIND_COLUMN_OF.get(key, "")
            kind = mapping.get(kind_column)
            if kind_column and isinstance(kind, str) and isinstance(value, str | int):
                self.search_values(key, (str(value),), KIND_COLUMNS[kind_column].get(kind))
            else:
                # The bounds of a plan's ranges are keys of any table.
                others.append(("row_key" if name == "ranges" and key in _BOUNDS else str(key), value))
        return others

    def _search_sql(self, text: str) -> None:
        """Search the literals of an SQL condition in a commit. Each belongs to the column named before it."""
        column, literals = "", 0
        for literal, word in _SQL.findall(text):
            if word:
                column = column if word.upper() in _SQL_WORDS else word
            elif column in FIELD_KINDS:
                self.search_values(column, (literal.replace("''", "'"),))
                literals += 1
        if not literals:
            self.counts[ACCOUNT] += self.terms.count_id(text)

    def search_bytes(self, chunk: bytes, *, ids: bool = True) -> None:
        """Search bytes that nothing decodes. Pass ``ids=False`` if other accounts' texts may mention the account."""
        text = chunk.decode("latin-1")
        if ids:
            self.counts[ACCOUNT] += self.terms.count_id(text, is_latin_1=True)
        self.search.add(self, text)
