"""The manifest of the readers' copy: write the buckets that changed, and open what it names."""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from resources.disk import LEAST_FREE_BYTES, require_space
from resources.vectors.generations import READERS, Generation
from resources.vectors.published.index import PublishedIndex
from resources.vectors.published.segment import Segment, write_segment
from resources.vectors.values import IndexPoint, VectorIndexError

_MANIFEST, _SEGMENTS = "manifest.json", "segments"
_ATTEMPTS = 10
"""Manifests that are read until one is open: each is replaced only after a whole write of a bucket."""


@dataclass(frozen=True)
class Manifest:
    """The generation that the copy is of, and bucket → the folder of its segment."""

    generation: Generation
    segments: Mapping[int, str]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"name": self.generation.name, **self.generation.to_json(), "segments": dict(self.segments)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Manifest":
        """Parse JSON values. Raise KeyError, TypeError or ValueError if this version did not write them."""
        segments = {int(bucket): str(name) for bucket, name in stored["segments"].items()}
        if any("/" in name or name.startswith(".") for name in segments.values()):
            raise ValueError("expected names of folders")
        return cls(Generation.from_json(stored["name"], stored), segments)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest in the folder of the index; None before the first promotion, or when it is damaged."""
    try:
        return Manifest.from_json(json.loads((folder / READERS / _MANIFEST).read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def publish(
    folder: Path,
    generation: Generation,
    changed: Iterable[int],
    buckets: Iterable[int],
    points: Callable[[int], Iterable[IndexPoint]],
) -> int:
    """Write the ``changed`` buckets of a generation, or all of another one, and replace the manifest in one step.

    Needs the lock of the index. A process that is killed leaves the manifest as it was, and folders that the next call
    deletes. Readers keep the files that they have open. Returns the number of buckets that were written.
    """
    place, before = folder / READERS, read_manifest(folder)
    kept = dict(before.segments) if before is not None and before.generation.id == generation.id else {}
    buckets = set(buckets)
    kept = {bucket: name for bucket, name in kept.items() if bucket in buckets and (place / _SEGMENTS / name).exists()}
    stale = sorted(set(changed) & buckets | buckets - kept.keys())
    for bucket in stale:
        require_space(folder, LEAST_FREE_BYTES)
        name = f"{generation.name}-{bucket}-{uuid.uuid4().hex[:8]}"
        write_segment(place / _SEGMENTS / name, points(bucket), generation.index_config.dimension)
        kept[bucket] = name
    if stale or before is None or before.generation != generation or before.segments != kept:
        _replace(place, Manifest(generation, kept))
    _sweep(place / _SEGMENTS, set(kept.values()))
    return len(stale)


def withdraw(folder: Path) -> None:
    """Delete the copy: nothing is served any more."""
    shutil.rmtree(folder / READERS, ignore_errors=True)


def _replace(place: Path, manifest: Manifest) -> None:
    temporary = place / f"{_MANIFEST}.tmp"
    with temporary.open("w") as file:
        json.dump(manifest.to_json(), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(place / _MANIFEST)


def _sweep(folder: Path, kept: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


@dataclass
class ReadersCopy:
    """The copy in the folder of an index, opened again when its manifest was replaced. Safe for several threads."""

    folder: Path
    _lock: Any = field(default_factory=threading.Lock)
    _seen: tuple[int, int] | None = None
    _opened: dict[str, Segment] = field(default_factory=dict)
    _current: tuple[Generation, PublishedIndex] | None = None

    def open(self) -> tuple[Generation, PublishedIndex] | None:
        """Return what was promoted last, and its generation; None before the first promotion."""
        with self._lock:
            for _ in range(_ATTEMPTS):
                seen = self._stamp()
                if seen is None:
                    self._seen, self._current, self._opened = None, None, {}
                    return None
                if seen == self._seen:
                    return self._current
                manifest = read_manifest(self.folder)
                if manifest is None:
                    raise VectorIndexError(
                        f"{self.folder / READERS} cannot be read. Delete it, and the next run writes it again."
                    )
                try:
                    self._opened = dict(self._segments(manifest))
                except FileNotFoundError:  # replaced since the manifest was read
                    continue
                self._seen, self._current = seen, (manifest.generation, PublishedIndex([*self._opened.values()]))
                return self._current
        raise VectorIndexError(f"{self.folder / READERS} names files that are gone. Run the lineage: `cippus run`.")

    def _segments(self, manifest: Manifest) -> Iterator[tuple[str, Segment]]:
        for _, name in sorted(manifest.segments.items()):
            known = self._opened.get(name)
            place, dimension = self.folder / READERS / _SEGMENTS / name, manifest.generation.index_config.dimension
            yield name, known if known is not None else Segment(place, dimension)

    def _stamp(self) -> tuple[int, int] | None:
        """Return what changes with every manifest: it is a new file each time."""
        try:
            found = (self.folder / READERS / _MANIFEST).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=4)
def readers_copy(folder: Path) -> ReadersCopy:
    """Return the copy of an index; threads of a process share what is mapped."""
    return ReadersCopy(folder)
