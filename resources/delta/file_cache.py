"""Bodies of the lake's files in memory, for whoever reads them next in this process: a file never changes."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

KEPT_BYTES = 128 << 20
"""Of all tables together: a stage reads what the one before has written, and many read the corpus."""


class Bodies:
    """File → body, the longest unused ones dropped. A file's name is used once, whatever table or bucket it is of."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most, self._size = most_bytes, 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, at: str) -> bytes | None:
        """A file's body, if it is here."""
        with self._lock:
            body = self._kept.get(at)
            if body is not None:
                self._kept.move_to_end(at)
            return body

    def keep(self, at: str, body: bytes) -> None:
        """Keep a body, and drop those that were not used for longest while there is no room."""
        with self._lock:
            self._size += len(body) - len(self._kept.pop(at, b""))
            self._kept[at] = body
            while self._size > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)

    def read(self, at: str, fetch: Callable[[], bytes]) -> bytes:
        """A file's body, fetched and kept unless it is here."""
        body = self.get(at)
        if body is None:
            body = fetch()
            self.keep(at, body)
        return body


BODIES = Bodies()
"""Those of this process: each step of a run has its own resources, and reads what the step before has written."""
