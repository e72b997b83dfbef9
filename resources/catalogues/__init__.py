"""The catalogues: facts that people edit, read from YAML and validated.

Belongs here: reading and checking `verticals.yaml`. Not here: scoring against it, or thresholds fitted on labels.
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
    """A catalogue file says something that it may not; the message names the entry."""


@dataclass(frozen=True)
class Vertical:
    """Something that a post or an account can be about.

    A text is as near as the nearest of its `descriptions`; the score `default_threshold`, in (0, 10), tags it while no
    labels have calibrated a better one. `iab` is the unique id of the nearest IAB Content Taxonomy 3.1 category.
    """

    name: str
    title: str
    descriptions: tuple[str, ...]
    default_threshold: float
    iab: str | None


@cache
def load_verticals() -> tuple[Vertical, ...]:
    """The verticals of this project, in the file's order; raises CatalogueError for an invalid file."""
    return read_verticals(VERTICALS_PATH)


def read_verticals(path: Path) -> tuple[Vertical, ...]:
    """The verticals of any catalogue file, in its order; raises CatalogueError for an invalid one."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path.name} is not YAML: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise CatalogueError(f"{path.name} must be a list of verticals")
    verticals = tuple(_vertical(entry) for entry in entries)
    names = [vertical.name for vertical in verticals]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CatalogueError(f"vertical names must be unique: {', '.join(repeated)}")
    return verticals


def catalogue_hash(verticals: Sequence[Vertical]) -> str:
    """64 hex digits of what decides a score: each vertical's name, descriptions and default threshold.

    The order of the verticals, their titles and their IAB ids do not count, so editing those rescores nothing. The
    order of a vertical's descriptions does not count either: the score is their maximum.
    """
    content = sorted([v.name, sorted(v.descriptions), v.default_threshold] for v in verticals)
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _vertical(entry: Any) -> Vertical:
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise CatalogueError(f"a vertical has exactly the keys {', '.join(sorted(_KEYS))}; got {entry!r}")
    name, title, iab = entry["name"], entry["title"], entry["iab"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CatalogueError(f"a vertical's name is snake_case; got {name!r}")
    if not isinstance(title, str) or not title.strip():
        raise CatalogueError(f"{name}: title must be text")
    if iab is not None and not isinstance(iab, str):
        raise CatalogueError(f"{name}: iab must be a quoted id or null; got {iab!r}")
    threshold = entry["default_threshold"]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 10:
        raise CatalogueError(f"{name}: default_threshold must lie in (0, 10); got {threshold!r}")
    return Vertical(name, title, _descriptions(name, entry["descriptions"]), float(threshold), iab)


def _descriptions(name: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
        raise CatalogueError(f"{name}: descriptions must be a list of sentences")
    if not 2 <= len(found) <= 4 or len(set(found)) != len(found):
        raise CatalogueError(f"{name}: 2 to 4 different descriptions; got {len(found)}")
    return tuple(found)
