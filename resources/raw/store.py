"""Store immutable extraction windows on S3: Parquet files that count only when their manifest exists."""

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
    """Another extraction completed the same window first; the rows of this run are not used."""


class BucketCountError(InputError):
    """Windows were extracted for another number of buckets than this run uses."""


CHANGES, KEYS, EXPORT = "changes", "keys", "export"
"""Kinds of window: rows that changed in an interval; differences that a key reconciliation found; a snapshot."""

_STOPS = "ledger/stopped_deletions/"


@dataclass(frozen=True)
class Manifest:
    """A complete window of one source and table. Numbers order windows; each begins where the one before ends.

    ``kind`` CHANGES covers ``[lower, upper)`` and is read from ``overlap_seconds`` earlier; a lower of None is open.
    KEYS has ``lower`` equal to ``upper``. Its rows replace the lake's rows of their keys, whatever their
    ``updated_at``, unless the lake's is at or after ``judged_below``. EXPORT holds all rows; ``origin`` is the export's
    id, and ``taken_at`` its time from the metadata. An export that arrives after a later one has no files, and the end
    of the later one. ``overlap`` is the key of the digests of rows that the next window reads again.
    ``source_columns`` is column → type in the source's own type names. ``aside`` are files that were taken out of
    ``files`` because of ``aside_reason``: they are never merged.
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
    aside: tuple[WindowFile, ...] = ()
    aside_reason: str = ""

    @property
    def rows(self) -> int:
        """Return the number of rows in all files."""
        return sum(file.rows for file in self.files)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Manifest":
        """Parse the JSON object that ``asdict`` gave."""
        lists = {name: tuple(WindowFile(**file) for file in value.get(name, ())) for name in ("files", "aside")}
        return cls(**{**value, **lists})


class RawStoreResource(ConfigurableResource):  # type: ignore[type-arg]
    """The windows of every source and table under ``raw/``."""

    s3: S3Resource

    def _folder(self, source: str, table: str) -> str:
        return f"raw/{table}/source={source}"

    def _window(self, source: str, table: str, number: int) -> str:
        return f"{self._folder(source, table)}/window={number:012d}"

    def sources(self, table: str) -> list[str]:
        """Return the sorted names of sources with windows of a table, complete or not; one listing of folders."""
        folders = self.s3.list_folders(f"raw/{table}/")
        return [folder.rstrip("/").rpartition("/source=")[2] for folder in folders]

    def manifests(self, source: str, table: str, after: int = 0) -> Iterator[Manifest]:
        """Yield the complete windows numbered above ``after``, in order. One listing, one read per manifest."""
        for number in self.numbers(source, table):
            if number > after:
                yield self._read(source, table, number)

    def newest(self, source: str, table: str) -> Manifest | None:
        """Return the complete window with the highest number, or None before the first."""
        numbers = self.numbers(source, table)
        return self._read(source, table, numbers[-1]) if numbers else None

    def was_extracted(self, table: str) -> bool:
        """Return whether any source has a complete window."""
        return any(self.numbers(source, table) for source in self.sources(table))

    def require_bucket_count(self, table: str, count: int) -> None:
        """Raise BucketCountError if the newest window of any source has another number of buckets."""
        for source in self.sources(table):
            newest = self.newest(source, table)
            if newest is not None and newest.bucket_count != count:
                raise BucketCountError(
                    f"raw/{table} was extracted for {newest.bucket_count} buckets, but CIPPUS_BUCKETS is {count}: "
                    f"set it to {newest.bucket_count}, or start with an empty bucket."
                )

    def numbers(self, source: str, table: str) -> list[int]:
        """Return the numbers of the complete windows, in order; one listing."""
        listed = self.s3.list_objects(f"{self._folder(source, table)}/manifests/")
        return sorted(int(item.key.rsplit("/", 1)[1].removesuffix(".json")) for item in listed)

    def window(self, source: str, table: str, number: int) -> Manifest | None:
        """Return a complete window by its number, or None."""
        found = self.s3.get_json(self._manifest(source, table, number))
        return Manifest.from_json(found) if found else None

    def _manifest(self, source: str, table: str, number: int) -> str:
        return f"{self._folder(source, table)}/manifests/{number:012d}.json"

    def _read(self, source: str, table: str, number: int) -> Manifest:
        return Manifest.from_json(self.s3.get_json(self._manifest(source, table, number)))

    def writer(self, source: str, table: str, number: int, bucket_count: int) -> WindowWriter:
        """Return a writer for the window of that number. Its files count only after ``complete``."""
        return WindowWriter(self.s3, self._window(source, table, number), bucket_count)

    def complete(self, manifest: Manifest) -> None:
        """Write the manifest. Raise WindowTakenError if another extraction completed the window first."""
        key = self._manifest(manifest.source, manifest.table, manifest.number)
        if not self.s3.put_json(key, asdict(manifest), if_absent=True):
            raise WindowTakenError(
                f"Window {manifest.number} of {manifest.source}/{manifest.table} was completed by another run."
            )

    def replace(self, manifest: Manifest) -> None:
        """Write the manifest of a complete window again, with some of its files set aside or brought back."""
        self.s3.put_json(self._manifest(manifest.source, manifest.table, manifest.number), asdict(manifest))

    def discard(self, files: Sequence[WindowFile]) -> None:
        """Delete files that no manifest will name."""
        self.s3.delete([file.key for file in files])

    def record_stop(self, source: str, table: str, said: str) -> None:
        """Store why deletions of a table were stopped, until ``clear_stop``."""
        self.s3.put_json(_stop(source, table), {"said": said})

    def clear_stop(self, source: str, table: str) -> None:
        """Delete that record, because keys were compared and the deletions landed."""
        if self.s3.get(_stop(source, table)) is not None:
            self.s3.delete([_stop(source, table)])

    def stopped_deletions(self) -> list[str]:
        """Return what ``record_stop`` stored, for every table."""
        keys = sorted(item.key for item in self.s3.list_objects(_STOPS))
        return [str(found["said"]) for found in map(self.s3.get_json, keys) if found]

    def divided(self, source: str, table: str, number: int, proposed: Plan) -> DividedWindow:
        """Return the window of that number, divided by the plan stored first for its columns and buckets."""
        return DividedWindow.begin(self.s3, self._window(source, table, number), proposed)

    def put_digests(self, source: str, table: str, number: int, packed: bytes) -> str:
        """Store digests of rows beside a window. Return their key, or blank if there are none."""
        if not packed:
            return ""
        # Content names the object, so that a retry writes the same one.
        key = f"{self._window(source, table, number)}/digests-{fingerprint([packed.hex()])}.bin"
        self.s3.put(key, packed)
        return key

    def digests(self, key: str) -> bytes:
        """Return the digests that ``put_digests`` stored; empty for a blank key."""
        return (self.s3.get(key) or b"") if key else b""

    def read(self, files: Sequence[WindowFile], columns: list[str] | None = None) -> pl.DataFrame:
        """Return the rows of at least one file, in all columns or in ``columns``. Memory: those rows."""
        at, filesystem = self.s3.bucket, self.s3.arrow_filesystem
        tables = [pq.ParquetFile(f"{at}/{file.key}", filesystem=filesystem).read(columns) for file in files]
        return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))

    def rows_of(self, file: WindowFile, key: str, keys: pl.DataFrame) -> pl.DataFrame | None:
        """Return the rows of a file that have some keys, given as a frame; None if there are none.

        Of a file without these keys, only the key column is read. Memory: the file.
        """
        if not self.read([file], [key]).join(keys, on=key, how="semi").height:
            return None
        return self.read([file]).join(keys, on=key, how="semi")


def _stop(source: str, table: str) -> str:
    return f"{_STOPS}{source}/{table}.json"


def parse_timestamp(value: str | None) -> datetime | None:
    """Parse a manifest's bound; None is open."""
    return None if value is None else datetime.fromisoformat(value)
