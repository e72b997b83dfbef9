"""The catalogues: facts that people edit in YAML files.

Belongs here: reading and validating `verticals.yaml`, `audience_columns.yaml` and `prices.yaml`.
Not here: scoring against verticals, thresholds fitted on labels, reading audience reports.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from resources.errors import InputError
from resources.settings.general import GeneralSettings

SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where the package has it: it reads the verticals in a tenth of the time."""
VERTICALS_PATH = Path(__file__).with_name("verticals.yaml")
Text = Annotated[str, StringConstraints(pattern=r"\S")]


class CatalogueError(InputError):
    """A catalogue file is invalid. The message names the entry."""


def _different(texts: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(texts)) != len(texts):
        raise ValueError(texts)
    return texts


_Part = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Bar:
    """The precision and the recall that labels must prove before a vertical ships."""

    precision: _Part = 0.7
    recall: _Part = 0.5


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Override:
    """What a person decided about a vertical instead of the labels: `ship` or `drop`, when and why."""

    decision: Literal["ship", "drop"]
    date: dt.date
    reason: Text

    @property
    def what(self) -> str:
        """Return what was decided and when, as in "dropped by a person on 2026-11-23"."""
        return f"{'shipped' if self.decision == 'ship' else 'dropped'} by a person on {self.date}"


def _part_of(kind: type, value: Any) -> Any:
    """Return a mapping of the file as a dataclass. Strict dataclasses are read from JSON only."""
    return TypeAdapter(kind).validate_json(json.dumps(value, default=str)) if isinstance(value, dict) else value


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Vertical:
    """A topic of posts and accounts.

    A text is compared with the nearest of the `descriptions`. `default_threshold`, in (0, 10), is the score from which
    a text is tagged until a threshold is fitted on labels. `iab` is the unique id of the nearest category of the IAB
    Content Taxonomy 3.1.
    """

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$", description="snake_case")]
    title: Annotated[Text, Field(description="a text that is not blank")]
    descriptions: Annotated[
        tuple[Text, ...],
        AfterValidator(_different),
        Field(strict=False, min_length=2, max_length=4, description="a list of 2 to 4 different sentences"),
    ]
    default_threshold: Annotated[float, Field(gt=0, lt=10, description="in (0, 10)")]
    iab: Annotated[str | None, Field(description="a quoted id or null")]
    bar: Annotated[
        Bar,
        BeforeValidator(partial(_part_of, Bar)),
        Field(description="a precision and a recall, both in (0, 1)"),
    ] = Bar()
    override: Annotated[
        Override | None,
        BeforeValidator(partial(_part_of, Override)),
        Field(description="a decision (ship or drop), a date such as 2026-11-23, and a reason"),
    ] = None


_RULES = {name: key["description"] for name, key in TypeAdapter(Vertical).json_schema()["properties"].items()}
"""Key of an entry → what its value must be."""
_REQUIRED = _RULES.keys() - {"override"}


def load_verticals() -> tuple[Vertical, ...]:
    """Return the verticals of this project, in the file's order. Raise CatalogueError if the file is invalid.

    The file is the packaged one, or that of `CIPPUS_VERTICALS`. It is read once.
    """
    return _loaded(GeneralSettings.read().verticals or VERTICALS_PATH)


@cache
def _loaded(path: Path) -> tuple[Vertical, ...]:
    return read_verticals(path)


def read_verticals(path: Path) -> tuple[Vertical, ...]:
    """Return the verticals of a catalogue file, in its order. Raise CatalogueError if the file is invalid."""
    entries = read_yaml(path)
    if not isinstance(entries, list) or not entries:
        raise CatalogueError(f"{path.name} is not a list of verticals. Write one list entry per vertical.")
    verticals = tuple(map(_vertical, entries))
    names = [vertical.name for vertical in verticals]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CatalogueError(
            f"{path.name} has more than one vertical named {', '.join(repeated)}. Names must be unique."
        )
    return verticals


def read_yaml(path: Path) -> Any:
    """Return the content of a catalogue file. Raise CatalogueError if it is not YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)  # noqa: S506 -- a SafeLoader
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}. Name an existing YAML file.") from error
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path.name} is not YAML. Correct its syntax: {error}") from error


def catalogue_hash(verticals: Sequence[Vertical]) -> str:
    """Return a hash, 64 hex digits, of all verticals in order: their names, descriptions and default thresholds.

    The order of the verticals counts, because scores are stored as a list in this order. Titles and IAB ids do not
    count, so editing them rescores nothing. The order of a vertical's descriptions does not count: its score is the
    maximum over them.
    """
    content = [[v.name, sorted(v.descriptions), v.default_threshold] for v in verticals]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def overrides_of(names: Iterable[str]) -> dict[str, str]:
    """Return vertical → what a person decided about it, when and why, in a sentence; of those that have an override."""
    known = {found.name: found.override for found in load_verticals()}
    decided = {name: override for name in names if (override := known.get(name)) is not None}
    return {name: f"{name} is {it.what}: {' '.join(it.reason.split())}" for name, it in decided.items()}


def roster_hash(verticals: Sequence[Vertical]) -> str:
    """Return a hash, 64 hex digits, of what decides the roster beside labels: names, bars and overrides."""
    content = [[v.name, v.bar.precision, v.bar.recall, repr(v.override)] for v in verticals]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _vertical(entry: Any) -> Vertical:
    if not isinstance(entry, dict) or not _REQUIRED <= entry.keys() <= _RULES.keys():
        raise CatalogueError(
            f"A vertical is {entry!r}; it must have exactly the keys {', '.join(sorted(_REQUIRED))}, and may have "
            "override."
        )
    try:
        return Vertical(**entry)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise CatalogueError(f"The {key} of {entry['name']} is {entry[key]!r}; it must be {_RULES[key]}.") from None
