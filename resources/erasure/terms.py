"""Search terms of an erasure scan, and their matches in named values, free text and raw bytes."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

import polars as pl

from resources.erasure.tombstones import ACCOUNT, FIELD_KINDS, KIND_COLUMN_OF, KIND_COLUMNS, Subject

CANARY = "canary"
FREE_TEXT = frozenset(
    (
        *("text", "bio", "summary", "display_name", "hashtags", "brand", "campaign", "vertical", "verticals"),
        *("comment", "description"),
    )
)
"""Fields where other accounts may mention the account, and words about tables. An id in them is no match."""
_BOUNDS = ("lower", "upper")
_SHORTEST_DISTINCTIVE_ID = 6
_BUFFERED_CHARACTERS = 32 << 20
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")
_BEFORE_WORD = r"(?:(?<![\w-])|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2}))"
"""No letter, digit or hyphen, but the end of an escape such as ``\\n``."""
_AFTER_WORD = r"(?![\w-])"
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
        """Pattern → canary: each form in which a canary may be written."""
        written = {form: canary for canary in self.canaries for form in _forms(canary)}
        return {**written, **{canary: canary for canary in self.canaries}}

    @cached_property
    def id_patterns(self) -> Mapping[str, re.Pattern[str]]:
        """Form of the account's id → pattern that matches it as a whole word. Empty if the id is not distinctive."""
        id_ = self.subject.account_id
        if not self.is_distinctive:
            return {}
        forms = {*_forms(id_), quote(id_, safe=""), repr(id_.encode())[2:-1]}
        return {form: re.compile(f"{_BEFORE_WORD}{re.escape(form)}{_AFTER_WORD}", re.ASCII) for form in forms}

    @cached_property
    def longest(self) -> int:
        """Length of the longest term in bytes, with the characters around it that tell whether it is a word."""
        return max(64, *(len(form) + 16 for form in (*self.id_patterns, *self.patterns, "")))

    def count_id(self, text: str) -> int:
        """Return how often the account's id occurs as a whole word, in any form; 0 if the id is not distinctive."""
        # Looking for the form alone first is ten times faster.
        return sum(len(pattern.findall(text)) for form, pattern in self.id_patterns.items() if form in text)


def _forms(text: str) -> set[str]:
    """Return the forms of a text in files that nothing decodes: plain, and escaped once or twice by JSON.

    Bytes are searched as Latin-1, so a form is the Latin-1 of its UTF-8 bytes.
    """
    once = [json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)]
    once.append(_ESCAPE.sub(lambda found: rf"\u{found[1].upper()}", once[0]))
    twice = [json.dumps(form, ensure_ascii=False)[1:-1] for form in once]
    return {text, *(form.encode().decode("latin-1") for form in (text, *once, *twice))}


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
            self.counts[ACCOUNT] += self.terms.count_id(text)
        self.search.add(self, text)
