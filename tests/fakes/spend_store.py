"""A store in memory with conditional writes, which crashes or loses answers where a test says so."""

import datetime as dt
import hashlib
import threading
from collections.abc import Callable, Iterator

from resources.spend.store import Stored, UncertainWriteError

START = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)


class SimulatedCrash(BaseException):  # no handler of the code may see it
    """The process ends here."""


class MemoryStore:
    """Objects with entity tags and a clock. ``before_write`` and ``after_write`` may raise."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.now, self.reads, self.writes = START, 0, 0
        self.before_write: Callable[[str], None] = lambda _key: None
        self.after_write: Callable[[str], None] = lambda _key: None
        self._lock = threading.Lock()

    def get(self, key: str) -> Stored | None:
        with self._lock:
            self.reads += 1
            body = self.objects.get(key)
            return None if body is None else Stored(body, _etag(body), self.now)

    def create(self, key: str, body: bytes) -> dt.datetime | None:
        return self._write(key, body, lambda old: old is None)

    def replace(self, key: str, body: bytes, etag: str) -> dt.datetime | None:
        return self._write(key, body, lambda old: old is not None and _etag(old) == etag)

    def put(self, key: str, body: bytes) -> None:
        self._write(key, body, lambda _old: True)

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def keys(self, prefix: str) -> Iterator[str]:
        return iter([key for key in self.objects if key.startswith(prefix)])

    def _write(self, key: str, body: bytes, is_allowed: Callable[[bytes | None], bool]) -> dt.datetime | None:
        self.before_write(key)
        with self._lock:
            self.writes += 1
            found = self.now if is_allowed(self.objects.get(key)) else None
            if found is not None:
                self.objects[key] = body
        self.after_write(key)
        return found


def lose_answer(_key: str) -> None:
    raise UncertainWriteError("the answer was lost")


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
