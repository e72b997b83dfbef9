"""Store rejected rows with their reasons as files under ``landing/quarantine/``."""

import io
import json
from collections.abc import Iterable

import polars as pl
import pyarrow as pa
from dagster import ConfigurableResource

from resources.delta.table import fingerprint
from resources.isolation import parquet
from resources.isolation import process as isolation
from resources.isolation.process import UnreadableFileError
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

    def land_file(self, origin: str, source_table: str, file: str, reason: str) -> int:
        """Store a landed file that cannot be read as one rejected row, whose content is the file's key."""
        rejects = pl.DataFrame({"file": [file], "reason": [reason]})
        return self.land(origin, source_table, "file", rejects)

    def withdraw(self, origin: str) -> None:
        """Delete the rows that were stored under ``origin``, because they are in the lake's windows again."""
        self.s3.delete([item.key for item in self.s3.list_objects(f"{PREFIX}{origin}-")])

    def names(self, origin: str) -> list[str]:
        """Return the names of the files whose origin begins with ``origin``; one listing."""
        return [item.key.removeprefix(PREFIX) for item in self.s3.list_objects(f"{PREFIX}{origin}")]

    def fingerprint(self) -> str:
        """Return a fingerprint of all files; one listing."""
        return fingerprint(sorted(f"{item.key} {item.etag}" for item in self.s3.list_objects(PREFIX)))

    def rows(self) -> Iterable[pl.DataFrame]:
        """Yield all rejected rows, a frame per file. A foreign or damaged file is a rejected row itself."""
        for item in self.s3.list_objects(PREFIX):
            body = self.s3.get(item.key)
            if body is None:
                continue
            try:
                yield _rejects(body)
            except (UnreadableFileError, pa.ArrowException) as error:
                said = str(error).splitlines()[0]
                row = ("quarantine files", item.key, said, json.dumps({"file": item.key, "etag": item.etag}))
                yield pl.DataFrame([row], schema=REJECT_SCHEMA, orient="row")


def _rejects(body: bytes) -> pl.DataFrame:
    """Return the rows of a file. Raise UnreadableFileError or ArrowException if Cippus did not write it."""
    tables = list(isolation.read(parquet.rows, body, list(REJECT_SCHEMA)))
    if tables[0].column_names != list(REJECT_SCHEMA) or not all(map(_is_text, tables[0].schema.types)):
        raise UnreadableFileError("the file is not of Cippus; remove it")
    rows = pa.concat_tables(tables)
    rows.validate(full=True)
    return pl.DataFrame(pl.from_arrow(rows)).cast(pl.Schema(REJECT_SCHEMA))


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))
