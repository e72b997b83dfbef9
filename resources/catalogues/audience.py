"""The columns of dropped audience reports, read from `audience_columns.yaml`: the meaning of headers and cells."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from resources.catalogues import CatalogueError, read_yaml

AUDIENCE_COLUMNS_PATH = Path(__file__).with_name("audience_columns.yaml")
LANDING = "landing/audience/"
"""Where reports are dropped."""
ROLES = ("account_id", "as_of", "dimension", "value", "share_percent")
_SECTIONS = {"columns", "dimensions", "dates", "ignored"}
_DIMENSION_KEYS = {"names", "values", "headers", "case"}
_CASES = {"upper": str.upper, "lower": str.lower}
_WORD = re.compile(r"[^\W_]+")


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


@dataclass(frozen=True)
class Dimension:
    """A property of an audience, such as its age: its name, the names of its values, the case of other values."""

    name: str
    values: Mapping[tuple[str, ...], str]
    case: str

    def value(self, text: str) -> str:
        """Return the value that a text means. Return the text itself, in the dimension's case, if it is not listed."""
        known = self.values.get(_words(text))
        return _CASES[self.case](text.strip()) if known is None else known


@dataclass(frozen=True)
class AudienceColumns:
    """The meaning of headers and cells of audience reports. ``version`` is a hash of the catalogue file."""

    roles: Mapping[tuple[str, ...], str]
    names: Mapping[tuple[str, ...], Dimension]
    headers: Mapping[tuple[str, ...], tuple[str, str]]
    dates: tuple[str, ...]
    ignored: frozenset[tuple[str, ...]]
    version: str = field(compare=False, default="")

    def role(self, header: str) -> str | None:
        """Return the role of a column, one of ROLES, or None."""
        return self.roles.get(_words(header))

    def share(self, header: str) -> tuple[str, str] | None:
        """Return the dimension and the value whose share a column holds, or None."""
        words = _words(header)
        if words in self.headers:
            return self.headers[words]
        for count in range(len(words) - 1, 0, -1):  # the longest name counts
            found = self.names.get(words[:count])
            if found is not None:
                *_, last = (match for match, _ in zip(_WORD.finditer(header), range(count), strict=False))
                rest = re.sub(r"^[\W_]+|[^\w+]+$", "", header[last.end() :])
                return found.name, found.value(rest)
        return None

    def is_ignored(self, header: str) -> bool:
        """Return whether a column is listed as not needed. A column without a name is not."""
        return _words(header) in self.ignored

    def dimension(self, text: str) -> str | None:
        """Return the dimension that a cell names, or None."""
        found = self.names.get(_words(text))
        return found.name if found else None

    def value(self, dimension: str, text: str) -> str:
        """Return the value that a cell names."""
        return self.names[_words(dimension)].value(text)

    def date(self, text: str) -> date | None:
        """Return the date that a cell names, or None."""
        for form in self.dates:
            try:
                return datetime.strptime(text.strip(), form).date()  # noqa: DTZ007  # a date has no zone
            except ValueError:
                continue
        return None


@cache
def load_audience_columns() -> AudienceColumns:
    """Return the columns of this project's catalogue. Raise CatalogueError if the file is invalid."""
    return read_audience_columns(AUDIENCE_COLUMNS_PATH)


def read_audience_columns(path: Path) -> AudienceColumns:
    """Return the columns of a catalogue file. Raise CatalogueError, which names the entry, if the file is invalid."""
    found = read_yaml(path)
    if not isinstance(found, dict) or set(found) != _SECTIONS:
        raise CatalogueError(f"{path.name} must have exactly the sections {', '.join(sorted(_SECTIONS))}.")
    roles = found["columns"]
    if not isinstance(roles, dict) or set(roles) != set(ROLES):
        raise CatalogueError(f"columns is {roles!r}; it must have exactly the entries {', '.join(ROLES)}.")
    if not isinstance(found["dimensions"], dict) or not found["dimensions"]:
        raise CatalogueError(f"dimensions is {found['dimensions']!r}; it must have at least one dimension.")
    made = [_dimension(name, entry) for name, entry in found["dimensions"].items()]
    return AudienceColumns(
        roles=_unique("columns", [(header, role) for role in ROLES for header in _texts(role, roles[role])]),
        names=_unique("dimensions", [(name, dimension) for dimension, names, _ in made for name in names]),
        headers=_unique("headers", [(header, (dimension.name, value)) for dimension, _, headers in made
                                    for header, value in headers.items()]),
        dates=tuple(_texts("dates", found["dates"])),
        ignored=frozenset(_words(text) for text in _texts("ignored", found["ignored"])),
        version=hashlib.sha256(json.dumps(found).encode()).hexdigest(),
    )  # fmt: skip


def _dimension(name: Any, entry: Any) -> tuple[Dimension, list[str], dict[str, str]]:
    if (
        not isinstance(name, str)
        or not isinstance(entry, dict)
        or not {"names", "case"} <= set(entry) <= _DIMENSION_KEYS
    ):
        raise CatalogueError(
            f"Dimension {name!r} must have names and case, and may have values and headers; it is {entry!r}."
        )
    if entry["case"] not in _CASES:
        raise CatalogueError(f"The case of {name} is {entry['case']!r}; it must be upper or lower.")
    values, headers = entry.get("values", {}), entry.get("headers", {})
    if not isinstance(values, dict) or not isinstance(headers, dict):
        raise CatalogueError(f"values of {name} is {values!r} and headers is {headers!r}; both must be mappings.")
    called = [(text, str(value)) for value, others in values.items() for text in [str(value), *_texts(name, others)]]
    return (
        Dimension(name, _unique(name, called), entry["case"]),
        [name, *(text for text in _texts(name, entry["names"]) if _words(text) != _words(name))],
        {str(header): str(value) for header, value in headers.items()},
    )


def _texts(name: str, found: Any) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
        raise CatalogueError(f"{name} is {found!r}; it must be a list of texts that are not blank.")
    return found


T = TypeVar("T")


def _unique(name: str, pairs: list[tuple[str, T]]) -> dict[tuple[str, ...], T]:
    """Return the pairs as a mapping. Raise CatalogueError if a text has no words, or the same words as another."""
    made: dict[tuple[str, ...], T] = {}
    for text, value in pairs:
        if not _words(text) or _words(text) in made:
            raise CatalogueError(f"{text!r} in {name} is blank or repeated. Remove it.")
        made[_words(text)] = value
    return made
