"""The scan that proves an erasure: it decodes and searches every object, local file and point of the lineage."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from botocore.exceptions import ClientError

from resources.erasure import values
from resources.erasure.folders import files_of, sqlite_values
from resources.erasure.packed import search_files
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

    ``foreign``: key of another owner's object that matches or cannot be read → which of the two. ``unsearched``:
    place → why its contents, or a part of them, could not be searched.
    """

    places: dict[str, Mapping[str, int]] = field(default_factory=dict)
    canaries: set[str] = field(default_factory=set)
    foreign: dict[str, str] = field(default_factory=dict)
    unsearched: dict[str, str] = field(default_factory=dict)
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
            "unsearched": len(self.unsearched),
            "layers": self.by_layer(),
        }


@dataclass(frozen=True)
class Scan:
    """A scan of a bucket, of local folders (layer → folder), and of the index.

    ``left_out``: folders that are not scanned, such as the source database. ``engines``: folders of the embedded index
    and the embedded S3. ``points`` yields (generation, point) for the whole index.
    """

    s3: S3Resource
    folders: Mapping[str, Path] = field(default_factory=dict)
    left_out: frozenset[Path] = frozenset()
    engines: frozenset[Path] = frozenset()
    points: Callable[[], Iterable[tuple[str, IndexPoint]]] = tuple

    def run(self, terms: SearchTerms, is_own: Callable[[str], bool] = lambda _key: True) -> Findings:
        """Search everything that is stored, whatever was erased before.

        Objects that are not ``is_own`` are searched too, and reported apart. Memory of each of four threads: 16 MB, or
        one text column of a row group, or a whole JSON or CSV file, which the stages read whole too.
        """
        findings, search = Findings(), CanarySearch(terms)
        objects = list(self.s3.list_objects(""))
        files = dict(self._files(findings.unsearched))
        findings.objects = len(objects) + len(files)
        findings.size_bytes = sum(item.size_bytes for item in objects) + sum(map(_size, files.values()))
        tasks: list[tuple[str, S3Object | Path]] = [(item.key, item) for item in objects if is_own(item.key)]
        tasks += files.items()

        def matches_in(task: tuple[str, S3Object | Path]) -> tuple[str, Matches, str]:
            matches = Matches(terms, search)
            matches.search_bytes(task[0].encode())  # a name may hold an id too
            return task[0], matches, "; ".join(dict.fromkeys(self._search(task[1], matches)))

        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(tasks), _PLACES_A_BATCH):
                batch = list(pool.map(matches_in, tasks[start : start + _PLACES_A_BATCH]))
                search.flush()
                findings.add({place: matches for place, matches, _ in batch})
                findings.unsearched |= {place: reasons for place, _, reasons in batch if reasons}
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
                reasons = list(self._search_object(item, matches, is_own=False))
                search.flush()
            except FileNotFoundError:  # deleted since it was listed
                continue
            except Exception as error:
                found[item.key] = f"cannot be read: {_error_code(error)}"
                continue
            if matches.by_kind:
                found[item.key] = "names the account"
            elif reasons:
                found[item.key] = f"cannot be read: {reasons[0]}"
        return found

    def _search(self, item: S3Object | Path, matches: Matches) -> Iterator[str]:
        """Search an own object or a file. Yield why a part of it was not searched."""
        try:
            if isinstance(item, S3Object):
                yield from self._search_object(item, matches, is_own=True)
            else:
                yield from self._search_file(item, matches)
        except FileNotFoundError:  # deleted or rotated since it was listed
            return
        except OSError as error:
            if isinstance(item, S3Object):
                raise
            yield f"it cannot be read: {error.strerror or type(error).__name__}"

    def _search_file(self, path: Path, matches: Matches) -> Iterator[str]:
        with path.open("rb") as file:
            if self._is_engine_file(path):
                values.search_bytes(file, matches, ids=False)
                return
            yield from search_files(path.name, file, lambda _name, plain: values.search_bytes(plain, matches))
        for value in sqlite_values(path):
            matches.search_bytes(value)

    def _is_engine_file(self, path: Path) -> bool:
        """Return whether an id in a file may stand in another account's text: in segments, logs and volumes."""
        folders = [path.relative_to(engine) for engine in self.engines if path.is_relative_to(engine)]
        return any(path.suffix == _VOLUME or not _SEGMENT_FOLDERS.isdisjoint(inner.parts) for inner in folders)

    def _search_object(self, item: S3Object, matches: Matches, *, is_own: bool) -> Iterator[str]:
        """Search one object. A large object of another owner is searched as bytes, because it may not fit in memory."""
        if item.key.endswith(".parquet") and self._search_parquet(item, matches):
            return
        with self._source(item) as source:

            def search_plain(name: str, plain: BinaryIO) -> None:
                most = None if is_own and plain is source else _LARGEST_WHOLE_BYTES
                values.search_plain(name, plain, matches, most)

            yield from search_files(item.key.removesuffix(".parquet"), source, search_plain)

    def _search_parquet(self, item: S3Object, matches: Matches) -> bool:
        """Search Parquet. Return False for anything else: a dropped file may have any content."""
        with self._source(item) as source:
            try:
                values.search_parquet(source, matches)
            except (ValueError, OSError) as error:
                # Arrow refuses a dropped file's deep schema with an OSError. From a large object it may be S3's, and a
                # damaged file of our own may hide an id in compressed bytes.
                is_small_drop = item.key.startswith(_DROPPED) and item.size_bytes <= _LARGEST_WHOLE_BYTES
                if isinstance(error, OSError) and not is_small_drop:
                    raise
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

    def _files(self, unsearched: dict[str, str]) -> Iterator[tuple[str, Path]]:
        """Yield (place, path) of every file in the folders. Record what cannot be listed."""
        for layer, top in self.folders.items():

            def record(error: OSError, layer: str = layer) -> None:
                unsearched[f"{layer}: {error.filename}"] = f"it cannot be read: {error.strerror}"

            for path in files_of(top, self.left_out, record):
                yield f"{layer}/{path.relative_to(top)}", path


def _error_code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
