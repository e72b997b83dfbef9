"""A catalogue in which a person ships every vertical: few labels of a small world would earn a tag."""

import datetime as dt
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

VERTICALS_PATH = Path(__file__).parents[2] / "resources" / "catalogues" / "verticals.yaml"
DATE, REASON = dt.date(2026, 1, 2), "Shipped for the tests."


def ship_every_vertical() -> None:
    """Name the catalogue in `CIPPUS_VERTICALS`, for this process and its children. One file for all test processes."""
    os.environ["CIPPUS_VERTICALS"] = str(_written(_decided("ship")))


@contextmanager
def every_vertical_ships() -> Iterator[None]:
    """Name the catalogue for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIPPUS_VERTICALS", str(_written(_decided("ship"))))
        yield


def catalogue_that_drops(name: str, folder: Path) -> Path:
    """Write the same catalogue, but for one vertical that a person drops."""
    found = folder / "verticals.yaml"
    found.write_text(yaml.safe_dump(_decided("ship", name)))
    return found


def _decided(decision: str, dropped: str = "") -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load(VERTICALS_PATH.read_text())
    said = {"date": DATE, "reason": REASON}
    return [
        {**entry, "override": {"decision": "drop" if entry["name"] == dropped else decision, **said}}
        for entry in entries
    ]


def _written(entries: list[dict[str, Any]]) -> Path:
    text = yaml.safe_dump(entries)
    path = Path(tempfile.gettempdir()) / f"cippus-verticals-{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(text)
        part.replace(path)
    return path
