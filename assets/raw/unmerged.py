"""What was landed of a table, from whichever source, and is not in the lake yet: it is judged with the lake's rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from assets.lake import application
from assets.raw.extraction import ALONG
from assets.transforms.source.schema import SourceTable
from resources.delta.table import LakeResource, TableSpec
from resources.raw.store import Manifest, RawStoreResource
from resources.raw.writer import WindowFile


@dataclass(frozen=True)
class Unmerged:
    """The files of windows that their buckets do not have. Memory, of whatever is read: a file."""

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
        """As things stand now, without the window ``but``. Of what is merged afterwards the lake has the same rows."""
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
        """How many rows there are."""
        return sum(file.rows for file in self.files)

    def keys(self) -> Iterator[pl.DataFrame]:
        """``key``, ``updated_at`` and ``is_deleted`` of the rows that have the first two, file by file."""
        for file in self.files:
            rows = self.raw_store.read([file], [self.table.key, ALONG, "deleted_at"])
            yield rows.drop_nulls([self.table.key, ALONG]).select(
                key=pl.col(self.table.key), updated_at=pl.col(ALONG), is_deleted=pl.col("deleted_at").is_not_null()
            )

    def rows_of(self, keys: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The rows of some keys, a frame with the table's key; of files without one, keys alone are read."""
        for file in self.files:
            held = self.raw_store.read([file], [self.table.key])
            if held.join(keys, on=self.table.key, how="semi").height:
                yield self.raw_store.read([file]).join(keys, on=self.table.key, how="semi")
