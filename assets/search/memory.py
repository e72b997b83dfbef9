"""What searches compute from tables of the lake, kept in memory until the tables change."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from resources.delta.table import LakeResource, TableSpec

T = TypeVar("T")
FRESH_SECONDS = 5.0
"""How long a kept searcher uses a table before it asks for new commits, which takes two requests to S3."""


@dataclass
class Memory:
    """Values computed from tables, one of each name. Safe for several threads: one computes, the others wait.

    A table is asked for new commits at most every ``fresh_seconds``.
    """

    lake: LakeResource
    fresh_seconds: float = 0.0
    _versions: dict[str, tuple[float, int]] = field(default_factory=dict)
    _values: dict[str, tuple[int, Any]] = field(default_factory=dict)
    _locks: dict[str, Any] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def of(self, spec: TableSpec, name: str, compute: Callable[[], T]) -> T:
        """Return a value that was computed from a table's newest version; compute it if the table changed."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            version = self.version(spec)
            known = self._values.get(name)
            if known is None or known[0] != version:
                known = self._values[name] = version, compute()
            found: T = known[1]
            return found

    def version(self, spec: TableSpec) -> int:
        """Return the version of a table; -1 for a table that does not exist."""
        asked, version = self._versions.get(spec.name, (float("-inf"), -1))
        now = time.monotonic()
        if now - asked > self.fresh_seconds:
            snapshot = self.lake.snapshot(spec)
            version = -1 if snapshot is None else snapshot.version
            self._versions[spec.name] = now, version
        return version
