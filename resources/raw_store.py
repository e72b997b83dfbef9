"""Immutable extraction windows on S3: Parquet files that count only once their manifest exists.

Belongs here: the layout, the manifest, the bounded writer. Not here: where the rows come from or go to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from dagster import ConfigurableResource

from resources.s3 import S3Resource

_BUFFER_BYTES = 64 << 20
"""Rows held back while a window is written; when it is full, the bucket that holds most goes to a file."""


class WindowTakenError(RuntimeError):
    """Another extraction completed the same window first; its rows stand and this run's are not used."""


class BucketCountError(RuntimeError):
    """Rows were extracted for another number of buckets than this run uses."""


@dataclass(frozen=True)
class WindowFile:
    """One Parquet file of a window, all of whose rows belong to one bucket."""

    key: str
    bucket: int
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """A complete window ``[lower, upper)`` of one source and table. Its number orders it; a lower of None is open."""

    source: str
    table: str
    number: int
    lower: str | None
    upper: str
    bucket_count: int
    files: tuple[WindowFile, ...] = ()

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


@dataclass
class WindowWriter:
    """Writes the rows of one window, file by file and bucket by bucket, in memory bounded by the buffer."""

    s3: S3Resource
    folder: str
    buffer_bytes: int = _BUFFER_BYTES
    files: list[WindowFile] = field(default_factory=list)
    _held: dict[int, list[pa.Table]] = field(default_factory=dict)
    _held_bytes: dict[int, int] = field(default_factory=dict)

    def add(self, rows: pa.Table) -> None:
        """Take rows that carry ``account_bucket``."""
        for bucket in pc.unique(rows["account_bucket"]).to_pylist():
            part = rows.filter(pc.equal(rows["account_bucket"], bucket))
            self._held.setdefault(bucket, []).append(part)
            self._held_bytes[bucket] = self._held_bytes.get(bucket, 0) + part.nbytes
        while sum(self._held_bytes.values()) > self.buffer_bytes:
            self._flush(max(self._held_bytes, key=self._held_bytes.__getitem__))

    def finish(self) -> tuple[WindowFile, ...]:
        """Write what is held back and name all files."""
        for bucket in sorted(self._held):
            self._flush(bucket)
        return tuple(self.files)

    def _flush(self, bucket: int) -> None:
        rows = pa.concat_tables(self._held.pop(bucket))
        self._held_bytes.pop(bucket)
        # The name is the attempt's own: a crashed attempt's files are never named by a manifest.
        key = f"{self.folder}/account_bucket={bucket}/part-{uuid4().hex}.parquet"
        path = f"{self.s3.bucket}/{key}"
        pq.write_table(rows, path, filesystem=self.s3.arrow_filesystem, compression="zstd", write_page_index=True)
        size = self.s3.client.head_object(Bucket=self.s3.bucket, Key=key)["ContentLength"]
        self.files.append(WindowFile(key, bucket, rows.num_rows, size))


class RawStoreResource(ConfigurableResource):  # type: ignore[type-arg]
    """The windows of every source and table under ``raw/``."""

    s3: S3Resource

    def _folder(self, source: str, table: str) -> str:
        return f"raw/{table}/source={source}"

    def manifests(self, source: str, table: str, after: int = 0) -> Iterator[Manifest]:
        """The complete windows numbered above ``after``, in order. One listing, one read per manifest."""
        for number in self._numbers(source, table):
            if number > after:
                yield self._read(source, table, number)

    def newest(self, source: str, table: str) -> Manifest | None:
        """The complete window with the highest number, or None before the first."""
        numbers = self._numbers(source, table)
        return self._read(source, table, numbers[-1]) if numbers else None

    def require_bucket_count(self, source: str, table: str, count: int) -> None:
        """Raise BucketCountError when the newest window was cut for another number of buckets."""
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

    def writer(self, source: str, table: str, number: int) -> WindowWriter:
        """A writer for the window of that number; nothing that it writes counts before ``complete``."""
        return WindowWriter(self.s3, f"{self._folder(source, table)}/window={number:012d}")

    def complete(self, manifest: Manifest) -> None:
        """Make a window count. Raises WindowTakenError when another extraction completed it first."""
        key = f"{self._folder(manifest.source, manifest.table)}/manifests/{manifest.number:012d}.json"
        if not self.s3.put_json(key, manifest.to_json(), if_absent=True):
            message = f"Window {manifest.number} of {manifest.source}/{manifest.table} was completed by another run."
            raise WindowTakenError(message)

    def read(self, files: Sequence[WindowFile], columns: list[str] | None = None) -> pl.DataFrame:
        """The rows of at least one file, all columns or those named. Memory: those rows."""
        at, filesystem = self.s3.bucket, self.s3.arrow_filesystem
        tables = [pq.ParquetFile(f"{at}/{file.key}", filesystem=filesystem).read(columns) for file in files]
        return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))


def moment(value: str | None) -> datetime | None:
    """A manifest's bound as a moment."""
    return None if value is None else datetime.fromisoformat(value)
