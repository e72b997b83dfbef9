"""Immutable extraction windows on S3: Parquet files that count only once their manifest exists."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from dagster import ConfigurableResource

from resources.delta.table import fingerprint
from resources.errors import InputError, TransientFailure
from resources.raw.plan import DividedWindow, Plan
from resources.raw.writer import WindowFile, WindowWriter
from resources.s3.client import S3Resource


class WindowTakenError(TransientFailure):
    """Another extraction completed the same window first; its rows stand and this run's are not used."""


class BucketCountError(InputError):
    """Rows were extracted for another number of buckets than this run uses."""


CHANGES, KEYS, EXPORT = "changes", "keys", "export"
"""Kinds of window: rows that changed in an interval; what a comparison of all keys found; a whole snapshot."""


@dataclass(frozen=True)
class Manifest:
    """A complete window of one source and table. Its number orders it, and the next begins where it ends.

    A window of changes is ``[lower, upper)``, read from ``overlap_seconds`` earlier on; a lower of None is open. One of
    keys lies between two others, ``lower`` equals ``upper``, and its rows are what the source holds for their keys,
    whatever their ``updated_at``, unless the lake's is at or after ``judged_below``. One of an export holds everything,
    ``origin`` is the export's id, and ``taken_at`` what it says of its own age; without files it may be one that came
    after a later one, whose end it has. ``overlap`` is the key of digests of the rows that the next window reads again,
    and ``source_columns`` are column → type in the source's own words.
    """

    source: str
    table: str
    number: int
    lower: str | None
    upper: str
    bucket_count: int
    files: tuple[WindowFile, ...] = ()
    kind: str = CHANGES
    origin: str = ""
    overlap_seconds: float = 0.0
    overlap: str = ""
    judged_below: str = ""
    source_columns: Mapping[str, str] = field(default_factory=dict)
    taken_at: str = ""

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Manifest":
        """The reverse of ``to_json``."""
        return cls(**{**value, "files": tuple(WindowFile(**file) for file in value["files"])})


class RawStoreResource(ConfigurableResource):  # type: ignore[type-arg]
    """The windows of every source and table under ``raw/``."""

    s3: S3Resource

    def _folder(self, source: str, table: str) -> str:
        return f"raw/{table}/source={source}"

    def _window(self, source: str, table: str, number: int) -> str:
        return f"{self._folder(source, table)}/window={number:012d}"

    def sources(self, table: str) -> list[str]:
        """The names of the sources that a table has windows of, complete or not, sorted; one listing of folders."""
        folders = self.s3.list_folders(f"raw/{table}/")
        return [folder.rstrip("/").rpartition("/source=")[2] for folder in folders]

    def manifests(self, source: str, table: str, after: int = 0) -> Iterator[Manifest]:
        """The complete windows numbered above ``after``, in order. One listing, one read per manifest."""
        for number in self._numbers(source, table):
            if number > after:
                yield self._read(source, table, number)

    def newest(self, source: str, table: str) -> Manifest | None:
        """The complete window with the highest number, or None before the first."""
        numbers = self._numbers(source, table)
        return self._read(source, table, numbers[-1]) if numbers else None

    def was_extracted(self, table: str) -> bool:
        """Whether any source has a complete window."""
        return any(self._numbers(source, table) for source in self.sources(table))

    def require_bucket_count(self, table: str, count: int) -> None:
        """Raise BucketCountError when the newest window of any source was cut for another number of buckets."""
        for source in self.sources(table):
            newest = self.newest(source, table)
            if newest is not None and newest.bucket_count != count:
                message = (
                    f"raw/{table} was extracted for {newest.bucket_count} buckets, but CIPPUS_BUCKETS is {count}: "
                    f"set it to {newest.bucket_count}, or start with an empty bucket."
                )
                raise BucketCountError(message)

    def _numbers(self, source: str, table: str) -> list[int]:
        listed = self.s3.list_objects(f"{self._folder(source, table)}/manifests/")
        return sorted(int(item.key.rsplit("/", 1)[1].removesuffix(".json")) for item in listed)

    def _read(self, source: str, table: str, number: int) -> Manifest:
        key = f"{self._folder(source, table)}/manifests/{number:012d}.json"
        return Manifest.from_json(self.s3.get_json(key))

    def writer(self, source: str, table: str, number: int, bucket_count: int) -> WindowWriter:
        """A writer for the window of that number; nothing that it writes counts before ``complete``."""
        return WindowWriter(self.s3, self._window(source, table, number), bucket_count)

    def complete(self, manifest: Manifest) -> None:
        """Make a window count. Raises WindowTakenError when another extraction completed it first."""
        key = f"{self._folder(manifest.source, manifest.table)}/manifests/{manifest.number:012d}.json"
        if not self.s3.put_json(key, manifest.to_json(), if_absent=True):
            message = f"Window {manifest.number} of {manifest.source}/{manifest.table} was completed by another run."
            raise WindowTakenError(message)

    def discard(self, files: Sequence[WindowFile]) -> None:
        """Delete files that no manifest is going to name."""
        self.s3.delete([file.key for file in files])

    def divided(self, source: str, table: str, number: int, proposed: Plan) -> DividedWindow:
        """The window of that number, read in parts by the plan that was made first for its columns and buckets."""
        return DividedWindow.begin(self.s3, self._window(source, table, number), proposed)

    def put_digests(self, source: str, table: str, number: int, packed: bytes) -> str:
        """Keep digests of rows beside a window; returns their key, or blank when there are none."""
        if not packed:
            return ""
        # Named by content, so that a repetition writes the same object.
        key = f"{self._window(source, table, number)}/digests-{fingerprint([packed.hex()])}.bin"
        self.s3.put(key, packed)
        return key

    def digests(self, key: str) -> bytes:
        """What ``put_digests`` kept; nothing for a blank key."""
        return (self.s3.get(key) or b"") if key else b""

    def read(self, files: Sequence[WindowFile], columns: list[str] | None = None) -> pl.DataFrame:
        """The rows of at least one file, all columns or those named. Memory: those rows."""
        at, filesystem = self.s3.bucket, self.s3.arrow_filesystem
        tables = [pq.ParquetFile(f"{at}/{file.key}", filesystem=filesystem).read(columns) for file in files]
        return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))


def moment(value: str | None) -> datetime | None:
    """A manifest's bound as a moment."""
    return None if value is None else datetime.fromisoformat(value)
