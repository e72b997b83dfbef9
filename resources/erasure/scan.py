"""The scan that proves an erasure: every object and file that the lineage keeps, decoded and searched."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from resources.catalogues.audience import LANDING
from resources.erasure import values
from resources.erasure.terms import CANARY, CanarySearch, Needles, Sightings
from resources.s3.client import S3Object, S3Resource
from resources.vectors.edge.files import look_into_edge_file
from resources.vectors.values import IndexPoint

_THREADS, _PLACES_AT_ONCE = 4, 1_000
_WHOLE_BYTES = 16 << 20
_VOLUME = ".dat"
"""The embedded S3's files, where the objects that are looked at one by one stand in a row."""


@dataclass
class Findings:
    """What was seen where: place (S3 key, or path) → kind → how often; and the canaries that were seen anywhere.

    ``foreign``: key of an object of others, in which something was seen or which cannot be read → which of the two.
    """

    places: dict[str, Mapping[str, int]] = field(default_factory=dict)
    canaries: set[str] = field(default_factory=set)
    foreign: dict[str, str] = field(default_factory=dict)
    objects: int = 0
    size_bytes: int = 0

    def take(self, looked: list[tuple[str, Sightings]]) -> None:
        """Take what was seen in some places out of a list."""
        while looked:
            place, seen = looked.pop()
            if found := seen.seen:
                self.places[place] = found
            self.canaries |= seen.canaries

    @property
    def names_account(self) -> bool:
        """Whether something of the account was seen, and not only texts that somebody says are its."""
        return any(kind != CANARY for found in self.places.values() for kind in found)

    def under(self, prefix: str) -> list[str]:
        """The places that begin so, sorted."""
        return sorted(place for place in self.places if place.startswith(prefix))

    def by_layer(self) -> dict[str, dict[str, int]]:
        """First part of the place → places and sightings by kind."""
        layers: dict[str, Counter[str]] = {}
        for place, found in self.places.items():
            layer = layers.setdefault(place.partition("/")[0], Counter())
            layer.update({"places": 1, **found})
        return {name: dict(sorted(counts.items())) for name, counts in sorted(layers.items())}

    def to_json(self) -> dict[str, Any]:
        """Figures alone: what was seen is not repeated."""
        return {
            "objects": self.objects,
            "bytes": self.size_bytes,
            "places": len(self.places),
            "canaries": len(self.canaries),
            "layers": self.by_layer(),
        }


@dataclass(frozen=True)
class Scan:
    """Looks at a bucket, at local folders (name in the findings → folder), and at the points of a server.

    ``left_out`` are folders that are somebody else's: the source database. ``points`` gives every point of every
    generation by name, where the index is no folder.
    """

    s3: S3Resource
    folders: Mapping[str, Path] = field(default_factory=dict)
    left_out: frozenset[Path] = frozenset()
    points: Callable[[], Iterable[tuple[str, IndexPoint]]] | None = None

    def run(self, needles: Needles, is_own: Callable[[str], bool] = lambda _key: True) -> Findings:
        """Look at everything. Memory: of four objects at a time 16 MB, one text column of a row group, or a 32 MB file.

        JSON, and CSV that was dropped, is decoded whole: of our own at any size, as the stages read it, too. Reads all
        that is stored, whatever was erased: a proof that looked only where it expects something would be none. What
        others keep in the bucket, by ``is_own``, is looked at too, and is told apart.
        """
        findings = Findings()
        objects = list(self.s3.list_objects(""))
        others = [item for item in objects if not is_own(item.key)]
        tasks = [(item.key, self._object_looker(item)) for item in objects if is_own(item.key)]
        files = [(f"{name}/{path.relative_to(top)}", path) for name, top in self.folders.items() for path in
                 self._files(top)]  # fmt: skip
        tasks += [(place, _file_looker(path)) for place, path in files]
        findings.objects = len(tasks)
        findings.size_bytes = sum(item.size_bytes for item in objects) + sum(_size(path) for _, path in files)

        search, waiting = CanarySearch(needles), list[tuple[str, Sightings]]()

        def look(task: tuple[str, Callable[[Sightings], None]]) -> tuple[str, Sightings]:
            place, looker = task
            seen = Sightings(needles, search)
            looker(seen)
            return place, seen

        with ThreadPoolExecutor(_THREADS) as pool:
            for looked in pool.map(look, tasks):
                waiting.append(looked)
                if len(waiting) == _PLACES_AT_ONCE:
                    search.flush()
                    findings.take(waiting)
        waiting += self._look_at_points(needles, search)
        search.flush()
        findings.take(waiting)
        findings.foreign = self._seen_in(others, needles)
        findings.objects += len(others)
        return findings

    def _seen_in(self, others: list[S3Object], needles: Needles) -> dict[str, str]:
        """Keys of others' objects in which something was seen, or that cannot be read (encrypted exports, say) → which.

        Nothing that others may keep there ends an erasure, so any error is a reason. Its message is not repeated, since
        it may quote the object.
        """
        found: dict[str, str] = {}
        for item in others:
            search = CanarySearch(needles)
            seen = Sightings(needles, search)
            try:
                self._object_looker(item, is_own=False)(seen)
                search.flush()
            except Exception as error:
                found[item.key] = f"cannot be read: {_error_code(error)}"
                continue
            if seen.seen:
                found[item.key] = "names the account"
        return found

    def _object_looker(self, item: S3Object, *, is_own: bool = True) -> Callable[[Sightings], None]:
        """Looks at one object; one of others that is larger than is kept in memory at a time, as bytes alone."""
        key = item.key
        is_json = key.endswith((".json", ".jsonl")) or "/_last_checkpoint" in key
        is_separated = key.endswith(".csv") or key.startswith(LANDING)  # the audience stage goes by the folder, too

        def look(seen: Sightings) -> None:
            if key.endswith(".parquet"):
                self._look_into_parquet(item, seen)
                if not key.startswith(LANDING):
                    return
            if not (is_json or is_separated) or (item.size_bytes > _WHOLE_BYTES and not is_own):
                self._look_into_bytes(item, seen)
                return
            body = self.s3.get(key)
            if body is None:
                return  # deleted since it was listed
            if is_json:
                values.look_into_json(body, seen)
            if key.endswith(".csv") or (is_separated and not body.startswith(b"PAR1")):
                values.look_into_csv(key, body, seen)

        return look

    def _look_into_parquet(self, item: S3Object, seen: Sightings) -> None:
        try:
            with self._source(item) as source, pq.ParquetFile(source) as plain:
                columns = values.text_columns(plain.schema)
                source.seek(0)
                with pq.ParquetFile(source, metadata=plain.metadata, read_dictionary=columns) as parquet:
                    values.look_into_parquet(parquet, seen)
        except FileNotFoundError:
            return
        except ValueError:  # it only calls itself Parquet: a dropped file may be anything
            self._look_into_bytes(item, seen)

    def _look_into_bytes(self, item: S3Object, seen: Sightings) -> None:
        try:
            with self._source(item) as source:
                values.look_into_bytes(source, seen, as_word=True)
        except FileNotFoundError:
            return

    def _source(self, item: S3Object) -> pa.NativeFile:
        """An object to read from: small ones are fetched whole, which is one request; of others only what is needed."""
        if item.size_bytes > _WHOLE_BYTES:
            return self.s3.arrow_filesystem.open_input_file(f"{self.s3.bucket}/{item.key}")
        body = self.s3.get(item.key)
        if body is None:
            raise FileNotFoundError(item.key)
        return pa.BufferReader(body)

    def _files(self, top: Path) -> list[Path]:
        found = []
        for path in sorted(top.iterdir()) if top.is_dir() else []:
            if path in self.left_out or path.is_symlink():
                continue
            if path.is_dir():
                found += self._files(path)
            elif path.is_file():
                found.append(path)
        return found

    def _look_at_points(self, needles: Needles, search: CanarySearch) -> list[tuple[str, Sightings]]:
        by_generation: dict[str, Sightings] = {}
        for name, point in self.points() if self.points else ():
            seen = by_generation.setdefault(f"qdrant/{name}", Sightings(needles, search))
            seen.document("", dict(point.payload))
        return list(by_generation.items())


def _error_code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__


def _file_looker(path: Path) -> Callable[[Sightings], None]:
    def look(seen: Sightings) -> None:
        try:
            if {"wal", "segments"} & set(path.parts):
                look_into_edge_file(path, seen)
                return
            with path.open("rb") as file:
                values.look_into_bytes(file, seen, as_word=path.suffix != _VOLUME)
        except FileNotFoundError:
            return  # a log that was rotated meanwhile

    return look


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
