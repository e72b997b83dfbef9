"""The scan that proves an erasure: it decodes and searches every object, local file and point of the lineage."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from botocore.exceptions import ClientError

from resources.catalogues.audience import LANDING
from resources.erasure import values
from resources.erasure.terms import CANARY, CanarySearch, Matches, SearchTerms
from resources.s3.client import S3Object, S3Resource
from resources.vectors.values import IndexPoint

_THREADS, _PLACES_A_BATCH = 4, 1_000
_LARGEST_WHOLE_BYTES = 16 << 20
_DROPPED = "landing/"
_SEGMENT_FOLDERS = {"wal", "segments"}
_VOLUME = ".dat"


@dataclass
class Findings:
    """Place (S3 key, path or generation) → kind → count, and every canary found.

    ``foreign``: key of another owner's object that matches or cannot be read → which of the two.
    """

    places: dict[str, Mapping[str, int]] = field(default_factory=dict)
    canaries: set[str] = field(default_factory=set)
    foreign: dict[str, str] = field(default_factory=dict)
    objects: int = 0
    size_bytes: int = 0

    def add(self, matches_by_place: Mapping[str, Matches]) -> None:
        """Add the matches of some places."""
        self.places |= {place: matches.by_kind for place, matches in matches_by_place.items() if matches.by_kind}
        self.canaries.update(*(matches.canaries for matches in matches_by_place.values()))

    @property
    def names_account(self) -> bool:
        """Whether an id of the account matched. Canaries alone come from the caller and prove no account."""
        return any(kind != CANARY for found in self.places.values() for kind in found)

    def under(self, prefix: str) -> list[str]:
        """Return the places with this prefix, sorted."""
        return sorted(place for place in self.places if place.startswith(prefix))

    def by_layer(self) -> dict[str, dict[str, int]]:
        """Return the first part of the place → number of places, and matches by kind."""
        layers: dict[str, Counter[str]] = {}
        for place, found in self.places.items():
            layers.setdefault(place.partition("/")[0], Counter()).update({"places": 1, **found})
        return {name: dict(sorted(counts.items())) for name, counts in sorted(layers.items())}

    def to_json(self) -> dict[str, Any]:
        """Return the counts, without any content."""
        return {
            "objects": self.objects,
            "bytes": self.size_bytes,
            "places": len(self.places),
            "canaries": len(self.canaries),
            "layers": self.by_layer(),
        }


@dataclass(frozen=True)
class Scan:
    """A scan of a bucket, of local folders (layer → folder), and of the index.

    ``left_out``: folders that are not scanned, such as the source database. ``points`` yields (generation, point)
    for the whole index.
    """

    s3: S3Resource
    folders: Mapping[str, Path] = field(default_factory=dict)
    left_out: frozenset[Path] = frozenset()
    points: Callable[[], Iterable[tuple[str, IndexPoint]]] = tuple

    def run(self, terms: SearchTerms, is_own: Callable[[str], bool] = lambda _key: True) -> Findings:
        """Search everything that is stored, whatever was erased before.

        Objects that are not ``is_own`` are searched too, and reported apart. Memory of each of four threads: 16 MB, or
        one text column of a row group, or a whole JSON or CSV file, which the stages read whole too.
        """
        findings, search = Findings(), CanarySearch(terms)
        objects = list(self.s3.list_objects(""))
        files = dict(self._files())
        findings.objects = len(objects) + len(files)
        findings.size_bytes = sum(item.size_bytes for item in objects) + sum(map(_size, files.values()))
        tasks: list[tuple[str, S3Object | Path]] = [(item.key, item) for item in objects if is_own(item.key)]
        tasks += files.items()

        def matches_in(task: tuple[str, S3Object | Path]) -> tuple[str, Matches]:
            matches = Matches(terms, search)
            self._search(task[1], matches)
            return task[0], matches

        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(tasks), _PLACES_A_BATCH):
                batch = dict(pool.map(matches_in, tasks[start : start + _PLACES_A_BATCH]))
                search.flush()
                findings.add(batch)
        generations: dict[str, Matches] = {}
        for name, point in self.points():
            generations.setdefault(f"qdrant/{name}", Matches(terms, search)).search_document(point.payload)
        search.flush()
        findings.add(generations)
        findings.foreign = self._foreign([item for item in objects if not is_own(item.key)], terms)
        return findings

    def _foreign(self, objects: Iterable[S3Object], terms: SearchTerms) -> dict[str, str]:
        """Return the keys of objects that match or that cannot be read, with the reason.

        No such object ends an erasure, so any error is a reason. Its message is left out: it may quote the object.
        """
        found: dict[str, str] = {}
        for item in objects:
            search = CanarySearch(terms)
            matches = Matches(terms, search)
            try:
                self._search(item, matches, is_own=False)
                search.flush()
            except Exception as error:
                found[item.key] = f"cannot be read: {_error_code(error)}"
                continue
            if matches.by_kind:
                found[item.key] = "names the account"
        return found

    def _search(self, item: S3Object | Path, matches: Matches, *, is_own: bool = True) -> None:
        with suppress(FileNotFoundError):  # deleted or rotated since it was listed
            if isinstance(item, S3Object):
                self._search_object(item, matches, is_own=is_own)
            else:
                # An id in segments of the index or volumes of the embedded S3 may be in another account's text.
                ids = item.suffix != _VOLUME and not _SEGMENT_FOLDERS & set(item.parts)
                with item.open("rb") as file:
                    values.search_bytes(file, matches, ids=ids)

    def _search_object(self, item: S3Object, matches: Matches, *, is_own: bool) -> None:
        """Search one object. A large object of another owner is searched as bytes, because it may not fit in memory."""
        key = item.key
        is_json = key.endswith((".json", ".jsonl")) or "/_last_checkpoint" in key
        is_csv, is_dropped = key.endswith(".csv"), key.startswith(LANDING)  # the audience stage reads all of LANDING
        is_parquet = key.endswith(".parquet") and self._search_parquet(item, matches)
        if is_parquet or (key.endswith(".parquet") and not is_dropped):
            return
        if not (is_json or is_csv or is_dropped) or (item.size_bytes > _LARGEST_WHOLE_BYTES and not is_own):
            with self._source(item) as source:
                values.search_bytes(source, matches)
            return
        body = self._body(key)
        if is_json:
            values.search_json(body, matches)
        if is_csv or (is_dropped and not body.startswith(b"PAR1")):
            values.search_csv(key, body, matches)

    def _search_parquet(self, item: S3Object, matches: Matches) -> bool:
        """Search Parquet. Search anything else as bytes and return False: a dropped file may have any content."""
        with self._source(item) as source:
            try:
                values.search_parquet(source, matches)
            except (ValueError, OSError) as error:
                # Arrow refuses a dropped file's deep schema with an OSError. From a large object it may be S3's, and a
                # damaged file of our own may hide an id in compressed bytes.
                is_small_drop = item.key.startswith(_DROPPED) and item.size_bytes <= _LARGEST_WHOLE_BYTES
                if isinstance(error, OSError) and not is_small_drop:
                    raise
                source.seek(0)
                values.search_bytes(source, matches)
                return False
        return True

    def _source(self, item: S3Object) -> pa.NativeFile:
        """Open an object: a small one with a single request, a large one by ranges."""
        if item.size_bytes > _LARGEST_WHOLE_BYTES:
            return self.s3.arrow_filesystem.open_input_file(f"{self.s3.bucket}/{item.key}")
        return pa.BufferReader(self._body(item.key))

    def _body(self, key: str) -> bytes:
        body = self.s3.get(key)
        if body is None:
            raise FileNotFoundError(key)
        return body

    def _files(self) -> Iterator[tuple[str, Path]]:
        """Yield (place, path) of every file in the folders. Symbolic links are not followed."""
        for layer, top in self.folders.items():
            for folder, subfolders, names in os.walk(top):
                subfolders[:] = [name for name in subfolders if Path(folder, name) not in self.left_out]
                paths = [Path(folder, name) for name in names]
                yield from (
                    (f"{layer}/{path.relative_to(top)}", path)
                    for path in paths
                    if path.is_file() and not path.is_symlink()
                )


def _error_code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
