"""Read landed rows that are not merged into the lake yet, from all sources."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from assets.lake import application
from assets.raw.extraction import UPDATED_AT
from assets.transforms.source.schema import SourceTable
from resources.delta.table import LakeResource, TableSpec
from resources.raw.store import Manifest, RawStoreResource
from resources.raw.writer import WindowFile


@dataclass(frozen=True)
class Unmerged:
    """Files of windows that their buckets have not merged. Memory of every read: one file."""

    raw_store: RawStoreResource
    table: SourceTable
    files: tuple[WindowFile, ...]

    @classmethod
    def of(
        cls,
        raw_store: RawStoreResource,
        lake: LakeResource,
        table: SourceTable,
        spec: TableSpec,
        bucket_count: int,
        but: Manifest | None = None,
    ) -> "Unmerged":
        """List the unmerged files now, without those of the window ``but``."""
        files: list[WindowFile] = []
        for source in raw_store.sources(table.name):
            recorded_as = {bucket: application(source, table.name, bucket) for bucket in range(bucket_count)}
            applied = lake.applied(spec, recorded_as.values())
            done = {bucket: applied.get(app, 0) for bucket, app in recorded_as.items()}
            for window in raw_store.manifests(source, table.name, after=min(done.values())):
                if but is None or (window.source, window.number) != (but.source, but.number):
                    files += (file for file in window.files if done[file.bucket] < window.number)
        return cls(raw_store, table, tuple(files))

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(file.rows for file in self.files)

    def keys(self) -> Iterator[pl.DataFrame]:
        """Yield ``key``, ``updated_at`` and ``is_deleted``, file by file, of rows whose first two are not null."""
        for file in self.files:
            rows = self.raw_store.read([file], [self.table.key, UPDATED_AT, "deleted_at"])
            yield rows.drop_nulls([self.table.key, UPDATED_AT]).select(
                key=pl.col(self.table.key), updated_at=pl.col(UPDATED_AT), is_deleted=pl.col("deleted_at").is_not_null()
            )

    def rows_of(self, keys: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield the rows of some keys, file by file; see RawStoreResource.rows_of."""
        found = (self.raw_store.rows_of(file, self.table.key, keys) for file in self.files)
        return (rows for rows in found if rows is not None)
