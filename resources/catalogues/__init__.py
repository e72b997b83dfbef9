"""The catalogues: facts that people edit in YAML files.

Belongs here: reading and validating `verticals.yaml`, `audience_columns.yaml` and `prices.yaml`.
Not here: scoring against verticals, thresholds fitted on labels, reading audience reports.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from resources.errors import InputError

VERTICALS_PATH = Path(__file__).with_name("verticals.yaml")
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_KEYS = {"name", "title", "iab", "default_threshold", "descriptions"}


class CatalogueError(InputError):
    """A catalogue file is invalid. The message names the entry."""


@dataclass(frozen=True)
class Vertical:
    """A topic of posts and accounts.

    A text is compared with the nearest of the `descriptions`. `default_threshold`, in (0, 10), is the score from which
    a text is tagged until a threshold is fitted on labels. `iab` is the unique id of the nearest category of the IAB
    Content Taxonomy 3.1.
    """

    name: str
    title: str
    descriptions: tuple[str, ...]
    default_threshold: float
    iab: str | None


@cache
def load_verticals() -> tuple[Vertical, ...]:
    """Return the verticals of this project, in the file's order. Raise CatalogueError if the file is invalid."""
    return read_verticals(VERTICALS_PATH)


def read_verticals(path: Path) -> tuple[Vertical, ...]:
    """Return the verticals of a catalogue file, in its order. Raise CatalogueError if the file is invalid."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path.name} is not YAML. Correct its syntax: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise CatalogueError(f"{path.name} is not a list of verticals. Write one list entry per vertical.")
    verticals = tuple(_vertical(entry) for entry in entries)
    names = [vertical.name for vertical in verticals]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CatalogueError(
            f"{path.name} has more than one vertical named {', '.join(repeated)}. Names must be unique."
        )
    return verticals


def catalogue_hash(verticals: Sequence[Vertical]) -> str:
    """Return a hash, 64 hex digits, of all verticals in order: their names, descriptions and default thresholds.

    The order of the verticals counts, because scores are stored as a list in this order. Titles and IAB ids do not
    count, so editing them rescores nothing. The order of a vertical's descriptions does not count: its score is the
    maximum over them.
    """
    content = [[v.name, sorted(v.descriptions), v.default_threshold] for v in verticals]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _vertical(entry: Any) -> Vertical:
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise CatalogueError(f"A vertical is {entry!r}; it must have exactly the keys {', '.join(sorted(_KEYS))}.")
    name, title, iab = entry["name"], entry["title"], entry["iab"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CatalogueError(f"The name of a vertical is {name!r}; it must be snake_case.")
    if not isinstance(title, str) or not title.strip():
        raise CatalogueError(f"The title of {name} is {title!r}; it must be a text that is not blank.")
    if iab is not None and not isinstance(iab, str):
        raise CatalogueError(f"The iab of {name} is {iab!r}; it must be a quoted id or null.")
    threshold = entry["default_threshold"]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 10:
        raise CatalogueError(f"The default_threshold of {name} is {threshold!r}; it must be in (0, 10).")
    return Vertical(name, title, _descriptions(name, entry["descriptions"]), float(threshold), iab)


def _descriptions(name: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
        raise CatalogueError(f"The descriptions of {name} are {found!r}; they must be a list of sentences.")
    if not 2 <= len(found) <= 4 or len(set(found)) != len(found):
        raise CatalogueError(f"The descriptions of {name} are {found!r}; they must be 2 to 4 different sentences.")
    return tuple(found)
