"""The columns of dropped audience reports, read from `audience_columns.yaml`: what a header or a cell means."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from resources.catalogues import CatalogueError

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
    """Something that is reported about an audience: its name, what its values are called, the case of other values."""

    name: str
    values: Mapping[tuple[str, ...], str]
    case: str

    def value(self, text: str) -> str:
        """The value that a text means; one that the catalogue does not list is itself."""
        known = self.values.get(_words(text))
        return _CASES[self.case](text.strip()) if known is None else known


@dataclass(frozen=True)
class AudienceColumns:
    """What headers and cells of audience reports mean. ``version`` changes with anything that decides it."""

    roles: Mapping[tuple[str, ...], str]
    names: Mapping[tuple[str, ...], Dimension]
    headers: Mapping[tuple[str, ...], tuple[str, str]]
    dates: tuple[str, ...]
    ignored: frozenset[tuple[str, ...]]
    version: str = field(compare=False, default="")

    def role(self, header: str) -> str | None:
        """One of ROLES, or None."""
        return self.roles.get(_words(header))

    def share(self, header: str) -> tuple[str, str] | None:
        """The dimension and the value whose share a column holds, or None."""
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
        """Whether a column is known and not needed; one without a name is not."""
        return _words(header) in self.ignored

    def dimension(self, text: str) -> str | None:
        """The dimension that a cell names, or None."""
        found = self.names.get(_words(text))
        return found.name if found else None

    def value(self, dimension: str, text: str) -> str:
        """The value that a cell names."""
        return self.names[_words(dimension)].value(text)

    def date(self, text: str) -> date | None:
        """The date that a cell names, or None."""
        for form in self.dates:
            try:
                return datetime.strptime(text.strip(), form).date()  # noqa: DTZ007  # a date has no zone
            except ValueError:
                continue
        return None


@cache
def load_audience_columns() -> AudienceColumns:
    """The columns of this project's catalogue; raises CatalogueError for an invalid file."""
    return read_audience_columns(AUDIENCE_COLUMNS_PATH)


def read_audience_columns(path: Path) -> AudienceColumns:
    """The columns of any catalogue file; raises CatalogueError, which names the entry, for an invalid one."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path.name} is not YAML: {error}") from error
    if not isinstance(found, dict) or set(found) != _SECTIONS:
        raise CatalogueError(f"{path.name} has exactly the sections {', '.join(sorted(_SECTIONS))}")
    roles = found["columns"]
    if not isinstance(roles, dict) or set(roles) != set(ROLES):
        raise CatalogueError(f"columns has exactly the entries {', '.join(ROLES)}")
    if not isinstance(found["dimensions"], dict) or not found["dimensions"]:
        raise CatalogueError("dimensions must name at least one dimension")
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
        raise CatalogueError(f"dimension {name!r} has names and case, and perhaps values and headers")
    if entry["case"] not in _CASES:
        raise CatalogueError(f"{name}: case must be upper or lower; got {entry['case']!r}")
    values, headers = entry.get("values", {}), entry.get("headers", {})
    if not isinstance(values, dict) or not isinstance(headers, dict):
        raise CatalogueError(f"{name}: values and headers must be mappings")
    called = [(text, str(value)) for value, others in values.items() for text in [str(value), *_texts(name, others)]]
    return (
        Dimension(name, _unique(name, called), entry["case"]),
        [name, *(text for text in _texts(name, entry["names"]) if _words(text) != _words(name))],
        {str(header): str(value) for header, value in headers.items()},
    )


def _texts(name: str, found: Any) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
        raise CatalogueError(f"{name}: expected a list of texts; got {found!r}")
    return found


T = TypeVar("T")


def _unique(name: str, pairs: list[tuple[str, T]]) -> dict[tuple[str, ...], T]:
    """The pairs as a mapping; raises CatalogueError where two texts are one when compared."""
    made: dict[tuple[str, ...], T] = {}
    for text, value in pairs:
        if not _words(text) or _words(text) in made:
            raise CatalogueError(f"{name}: {text!r} is blank or stands there twice")
        made[_words(text)] = value
    return made
