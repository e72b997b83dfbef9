"""Store rejected rows with their reasons as files under ``landing/quarantine/``."""

import io
from collections.abc import Iterable

import polars as pl
from dagster import ConfigurableResource

from resources.delta.table import fingerprint
from resources.s3.client import S3Resource

PREFIX = "landing/quarantine/"
REJECT_SCHEMA = {"source_table": pl.String, "row_key": pl.String, "reason": pl.String, "row_json": pl.String}


class QuarantineResource(ConfigurableResource):  # type: ignore[type-arg]
    """The files of rejected rows. Content names a file, so landing the same rejects twice is idempotent."""

    s3: S3Resource

    def land(self, origin: str, source_table: str, key: str, rejects: pl.DataFrame, reason: str = "reason") -> int:
        """Store rejected rows and return their number. ``reason`` names the column of ``rejects`` with the reason.

        A row is stored the same whatever path finds it: without the bucket that Cippus adds, in the order of names.
        """
        if rejects.is_empty():
            return 0
        columns = sorted(set(rejects.columns) - {reason, "account_bucket"})
        rows = rejects.select(
            source_table=pl.lit(source_table),
            row_key=pl.col(key).cast(pl.String),
            reason=pl.col(reason),
            row_json=pl.struct(columns).struct.json_encode(),
        ).sort("row_key", "reason", "row_json", nulls_last=True)
        name = fingerprint(value or "" for row in rows.iter_rows() for value in row)
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        self.s3.put(f"{PREFIX}{origin}-{name}.parquet", buffer.getvalue())
        return rows.height

    def fingerprint(self) -> str:
        """Return a fingerprint of all files; one listing."""
        return fingerprint(sorted(f"{item.key} {item.etag}" for item in self.s3.list_objects(PREFIX)))

    def rows(self) -> Iterable[pl.DataFrame]:
        """Yield all rejected rows, a frame per file."""
        for item in self.s3.list_objects(PREFIX):
            body = self.s3.get(item.key)
            if body is not None:
                yield pl.read_parquet(io.BytesIO(body)).select(pl.col(n).cast(t) for n, t in REJECT_SCHEMA.items())
