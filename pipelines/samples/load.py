"""Load a folder of Parquet files into the embedded Postgres, and its labels into landing/labels/."""

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from assets.framework.intake import without_items_of_erased
from assets.transforms.erasure import without_erased
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from pipelines.samples.folder import SourceFile, open_folder
from resources.delta.table import fingerprint
from resources.erasure.tombstones import ErasureResource
from resources.local_stack import EmbeddedStack
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.s3.client import S3Resource
from resources.wiring import erasure_resource

LABELS_PREFIX = "landing/labels/"


@dataclass
class TableReport:
    """The outcome of a file's rows. ``stale`` rows are older than the database's rows, which stay."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    stale: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    ignored_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadReport:
    """The outcome of a folder: table → report, and the number of label rows dropped into landing/labels/."""

    tables: dict[str, TableReport]
    labels: int


def load_folder(folder: Path, stack: EmbeddedStack, on_rows: Callable[[str, int], None] | None = None) -> LoadReport:
    """Load every table of a folder in one transaction, with its rejects and labels. A rerun changes nothing.

    A row replaces the database's unless its ``updated_at`` is earlier. Extraction cuts its windows by ``updated_at``,
    so once a table was extracted, a changed row gets the current time: no window would reach an earlier one. Raise
    InputError before anything is written. ``on_rows`` gets (table, rows) as they are read. Memory: one batch, and the
    rejects.
    """
    files = open_folder(folder)
    s3 = _s3(stack)
    reports: dict[str, TableReport] = {}
    rejects: dict[str, pl.DataFrame] = {}
    labels = sum(batch.num_rows for batch in files["labels"].batches()) if "labels" in files else 0
    with psycopg.connect(stack.postgres_dsn) as connection:
        for name, table in SOURCE_TABLES.items():
            if name in files:
                was_extracted = RawStoreResource(s3=s3).was_extracted(name)
                loading = _TableLoad(connection, table, files[name], stamp=was_extracted)
                reports[name], rejects[name] = loading.run(on_rows or (lambda _table, _rows: None))
        # Objects come before the commit: after a crash the next load writes them under the same names.
        erasures = erasure_resource(s3)
        for name, rows in rejects.items():
            kept = without_erased(rows.to_arrow(), ("account_id",), erasures.tombstones())
            QuarantineResource(s3=s3).land("load", name, SOURCE_TABLES[name].key, pl.DataFrame(pl.from_arrow(kept)))
        if "labels" in files:
            _drop_labels(s3, files["labels"], erasures)
    return LoadReport(reports, labels)


def _s3(stack: EmbeddedStack) -> S3Resource:
    return S3Resource(
        bucket="cippus",
        endpoint_url=stack.s3_endpoint,
        access_key_id=stack.s3_access_key_id,
        secret_access_key=stack.s3_secret_access_key,
    )


def _drop_labels(s3: S3Resource, file: SourceFile, erasures: ErasureResource) -> None:
    """Drop a label file, without labels of erased accounts, under a hash of its content. Idempotent."""
    labels = pl.DataFrame(pl.from_arrow(pa.concat_tables([file.schema.empty_table(), *file.batches()])))
    kept = without_items_of_erased(labels, erasures)
    if kept.height == labels.height and file.path.is_file():
        body = file.path.read_bytes()
    else:
        buffer = io.BytesIO()
        kept.write_parquet(buffer)
        body = buffer.getvalue()
    s3.put(f"{LABELS_PREFIX}{fingerprint([body.hex()])}.parquet", body)


@dataclass
class _TableLoad:
    """The load of one table: copy its rows to a staging table, reject bad ones, and merge the rest."""

    connection: psycopg.Connection[Any]
    table: SourceTable
    file: SourceFile
    stamp: bool
    report: TableReport = field(default_factory=TableReport)
    rejects: list[pl.DataFrame] = field(default_factory=list)

    @property
    def names(self) -> dict[str, sql.Composable]:
        """The parts of the SQL statements."""
        columns = [sql.Identifier(name) for name in self.table.schema.names if name != "updated_at"]
        join = sql.SQL(", ").join
        old, new = join(sql.SQL("t.{}").format(c) for c in columns), join(sql.SQL("s.{}").format(c) for c in columns)
        return {
            "table": sql.Identifier(self.table.name),
            "staging": sql.Identifier(f"staging_{self.table.name}"),
            "key": sql.Identifier(self.table.key),
            "columns": join(columns),
            "new": new,
            "set": join(sql.SQL("{0} = s.{0}").format(column) for column in columns),
            "differs": sql.SQL("(({}) IS DISTINCT FROM ({}))").format(old, new),
            "stale": sql.SQL("coalesce(s.updated_at < t.updated_at, false)"),
            "timestamp": sql.SQL("now()") if self.stamp else sql.SQL("least(coalesce(s.updated_at, now()), now())"),
        }

    def run(self, on_rows: Callable[[str, int], None]) -> tuple[TableReport, pl.DataFrame]:
        """Load the file. Return the report, and the rejects with their reasons."""
        self.report.ignored_columns = self.file.ignored
        self._execute("CREATE TEMP TABLE {staging} (LIKE {table}, row_number bigserial) ON COMMIT DROP")
        self._copy(on_rows)
        self._reject_repeats()
        self._merge()
        frames = [
            pl.DataFrame(pl.from_arrow(self.table.schema.empty_table())).with_columns(reason=pl.lit(None, pl.String))
        ]
        return self.report, pl.concat([*frames, *self.rejects])

    def _execute(self, statement: str) -> psycopg.Cursor[Any]:
        return self.connection.execute(sql.SQL(statement).format(**self.names))

    def _copy(self, on_rows: Callable[[str, int], None]) -> None:
        copied = sql.SQL(", ").join(sql.Identifier(name) for name in self.table.schema.names)
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(self.names["staging"], copied)
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for batch in self.file.batches():
                self.report.read += batch.num_rows
                for row in self._usable(batch):
                    copy.write_row(row)
                on_rows(self.table.name, batch.num_rows)

    def _usable(self, batch: pa.Table) -> list[tuple[Any, ...]]:
        """Return the rows that Postgres and the lineage accept, and reject the others."""
        rows = pl.DataFrame(pl.from_arrow(batch))
        required = [name for name in self.table.required if name != "updated_at"]
        judged = rows.with_columns(
            reason=pl.coalesce(
                *(
                    pl.when(pl.col(name).is_null() | (pl.col(name).str.strip_chars() == "")).then(
                        pl.lit(f"{name} is missing")
                    )
                    for name in required
                ),
                *(
                    pl.when(_holds_nul(name, dtype)).then(pl.lit(f"{name} holds a NUL character"))
                    for name, dtype in rows.schema.items()
                    if dtype in (pl.String, pl.List(pl.String))
                ),
                pl.lit(None, pl.String),
            )
        )
        self._reject(judged.filter(pl.col("reason").is_not_null()))
        return judged.filter(pl.col("reason").is_null()).drop("reason").rows()

    def _reject(self, rows: pl.DataFrame) -> None:
        self.rejects.append(rows)
        self.report.rejected.update(rows["reason"].to_list())

    def _reject_repeats(self) -> None:
        """Reject all rows of a key but the latest; of equally late rows the last in the file stays."""
        found = self._execute(
            "WITH ranked AS (SELECT row_number, row_number() OVER (PARTITION BY {key} ORDER BY updated_at DESC "
            "NULLS LAST, row_number DESC) AS place FROM {staging}) DELETE FROM {staging} USING ranked "
            "WHERE {staging}.row_number = ranked.row_number AND place > 1 RETURNING {staging}.*"
        )
        schema = pl.DataFrame(pl.from_arrow(self.table.schema.empty_table())).schema
        rows = [row[: len(schema)] for row in found.fetchall()]
        repeats = pl.DataFrame(rows, schema=schema, orient="row")
        self._reject(repeats.with_columns(reason=pl.lit(f"{self.table.key} is repeated in the file")))

    def _merge(self) -> None:
        """Insert new rows, update changed rows that are not older, and count the outcomes."""
        counted = self._execute(
            "SELECT count(*) FILTER (WHERE {differs} AND {stale}), count(*) FILTER (WHERE NOT {differs}) "
            "FROM {staging} s JOIN {table} t USING ({key})"
        ).fetchone()
        self.report.stale, self.report.unchanged = counted or (0, 0)
        self.report.updated = self._execute(
            "UPDATE {table} t SET {set}, updated_at = {timestamp} FROM {staging} s "
            "WHERE t.{key} = s.{key} AND {differs} AND NOT {stale}"
        ).rowcount
        self.report.inserted = self._execute(
            "INSERT INTO {table} ({columns}, updated_at) SELECT {new}, {timestamp} FROM {staging} s "
            "ON CONFLICT ({key}) DO NOTHING"
        ).rowcount


def _holds_nul(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return whether a text, or a list of texts, has a NUL, the one character that Postgres cannot store."""
    if dtype == pl.String:
        return pl.col(name).str.contains("\x00", literal=True)
    return pl.col(name).list.eval(pl.element().str.contains("\x00", literal=True)).list.any()
