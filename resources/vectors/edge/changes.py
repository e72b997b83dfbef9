"""The buckets of a generation that were written since the readers' copy was: a small file beside its shard."""

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from resources.settings import bucket_count

CHANGES_FILE = "changed_buckets.json"


class ChangedBuckets:
    """Buckets to publish. A bucket is on disk before its first point is written, so that a crash forgets none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CHANGES_FILE
        self._lock = threading.Lock()
        self._known = self._read()

    def add(self, buckets: Iterable[object]) -> None:
        """Note buckets; leave out values that are no bucket, whose points are not in the readers' copy."""
        found = {bucket for bucket in buckets if type(bucket) is int}
        with self._lock:
            if not found <= self._known:
                self._known |= found
                self._write()

    def all(self) -> set[int]:
        """Return the buckets that were noted."""
        with self._lock:
            return set(self._known)

    def clear(self) -> None:
        """Forget all buckets: they are published."""
        with self._lock:
            self._known = set()
            self._path.unlink(missing_ok=True)

    def _read(self) -> set[int]:
        try:
            return set(map(int, json.loads(self._path.read_text())))
        except FileNotFoundError:
            return set()
        except (ValueError, TypeError):
            return set(range(bucket_count()))

    def _write(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump(sorted(self._known), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
