"""Files of the lake in memory, shared by all readers of this process. A file never changes, so it never expires."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

KEPT_BYTES = 128 << 20
"""Size for all tables together: a stage reads the files that the stage before has written."""


class FileCache:
    """File name → body, with the least recently used files dropped. Every file of every table has its own name."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most, self._size = most_bytes, 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, at: str) -> bytes | None:
        """Return a file's body if it is in the cache."""
        with self._lock:
            if at in self._kept:
                self._kept.move_to_end(at)
            return self._kept.get(at)

    def keep(self, at: str, body: bytes) -> None:
        """Add a body, and drop the least recently used files while the cache is over its size."""
        with self._lock:
            self._size += len(body) - len(self._kept.pop(at, b""))
            self._kept[at] = body
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])

    def read(self, at: str, fetch: Callable[[], bytes]) -> bytes:
        """Return a file's body; fetch and keep it if it is not in the cache."""
        body = self.get(at)
        if body is None:
            body = fetch()
            self.keep(at, body)
        return body


FILE_CACHE = FileCache()
"""The cache of this process. Each step of a run has its own resources, so they share this one."""
