"""A snapshot export of the embedded database in the layout of RDS, for demonstrations and tests."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from resources.s3.client import S3Resource

_EXPORTED: Mapping[str, tuple[str, pa.DataType]] = {
    "smallint": ("int32", pa.int32()),
    "integer": ("int32", pa.int32()),
    "bigint": ("int64", pa.int64()),
    "real": ("float", pa.float32()),
    "double precision": ("double", pa.float64()),
    "boolean": ("boolean", pa.bool_()),
    "bytea": ("binary", pa.binary()),
}
"""Postgres type → its name in the metadata and its Arrow type in the file. Every other type becomes text."""
_TEXT = ("binary (UTF8)", pa.string())
_SKIPPED_COLUMN = re.compile(r"[,;{}()\n\t= ]")
_COLUMNS: LiteralString = """
SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position
"""


def write_export(
    dsn: str, s3: S3Resource, prefix: str, export_id: str, *, batched: bool = True, rows_a_file: int = 1_000
) -> datetime:
    """Export every table of schema public under ``prefix`` (empty, or with a final slash). Return the snapshot time.

    ``batched`` selects AWS' current layout with numbered batch folders, or else the older one. As with AWS, part
    numbers have gaps, a table without rows has no file, and tables with certain column names are left out. Memory: one
    file.
    """
    root = f"{prefix}{export_id}/"
    with psycopg.connect(dsn) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL TimeZone = 'UTC'")
        row = connection.execute("SELECT statement_timestamp(), current_database()").fetchone()
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        snapshot: datetime = row[0]
        database = row[1]
        entries = []
        for table, columns in _tables(connection).items():
            folder = f"{root}{database}/public.{table}/"
            parts = _parts(connection, table, columns, rows_a_file)
            _write_files(s3, folder, parts, batched=batched)
            entries.append(_entry(f"{database}.public.{table}", columns))
    _write_metadata(s3, root, export_id, snapshot, entries)
    return snapshot


def _tables(connection: "psycopg.Connection[Any]") -> dict[str, dict[str, str]]:
    """Return table → column → type of the exported tables."""
    found: dict[str, dict[str, str]] = {}
    for table, column, data_type in connection.execute(_COLUMNS):
        found.setdefault(table, {})[column] = data_type
    return {
        table: columns
        for table, columns in found.items()
        if "/" not in table and not any(_SKIPPED_COLUMN.search(name) for name in columns)
    }


def _parts(
    connection: "psycopg.Connection[Any]", table: str, columns: Mapping[str, str], rows_a_file: int
) -> Iterator[pa.Table]:
    """Yield the rows of a table in the types of the export, file by file."""
    schema = pa.schema([(name, _EXPORTED.get(found, _TEXT)[1]) for name, found in columns.items()])
    chosen = ", ".join(f'"{name}"' if found in _EXPORTED else f'"{name}"::text' for name, found in columns.items())
    with connection.cursor(name="export") as cursor:
        cursor.execute(f'SELECT {chosen} FROM public."{table}"'.encode())  # noqa: S608 - names of the catalogue
        while rows := cursor.fetchmany(rows_a_file):
            columns_of_rows = zip(zip(*rows, strict=True), schema, strict=True)
            yield pa.table([pa.array(values, field.type) for values, field in columns_of_rows], schema=schema)


def _write_files(s3: S3Resource, folder: str, parts: Iterator[pa.Table], *, batched: bool) -> None:
    folders = {f"{folder}1/" if batched else folder}
    for number, part in enumerate(parts):
        # Every third number is missing. In the current layout the files alternate between two batches.
        at = f"{folder}{number % 2 + 1}/" if batched else folder
        folders.add(at)
        buffer = io.BytesIO()
        pq.write_table(part, buffer, compression="gzip", row_group_size=max(1, part.num_rows // 2))
        name = f"part-{number + number // 2:05d}-{number:08x}-5e1f-4c6e-9a55-0123456789ab.gz.parquet"
        s3.put(f"{at}{name}", buffer.getvalue())
    for at in folders:
        s3.put(f"{at}_SUCCESS", b"")


def _entry(target: str, columns: Mapping[str, str]) -> dict[str, Any]:
    mappings = [
        {
            "columnName": name,
            "originalType": found,
            "expectedExportedType": _EXPORTED.get(found, _TEXT)[0],
            "originalCharMaxLength": 0,
            "originalNumPrecision": 0,
            "originalDateTimePrecision": 0,
        }
        for name, found in columns.items()
    ]
    return {
        "target": target,
        "status": "COMPLETE",
        "sizeGB": 0.0,
        "schemaMetadata": {"originalTypeMappings": mappings},
    }


def _write_metadata(
    s3: S3Resource, root: str, export_id: str, snapshot: datetime, entries: Sequence[Mapping[str, Any]]
) -> None:
    """Write the metadata, two tables a file. ``export_info`` comes last and marks the export as complete."""
    for first in range(0, len(entries), 2):
        some = entries[first : first + 2]
        name = f"export_tables_info_{export_id}_from_{first + 1}_to_{first + len(some)}.json"
        s3.put_json(f"{root}{name}", {"perTableStatus": some})
    ended = datetime.now(UTC)
    info = {
        "exportTaskIdentifier": export_id,
        "sourceArn": "arn:aws:rds:eu-west-1:123456789012:snapshot:creators",
        "exportOnly": [],
        "snapshotTime": snapshot.astimezone(UTC).isoformat(),
        "taskStartTime": ended.strftime("%b %d, %Y, %I:%M:%S %p"),
        "taskEndTime": ended.strftime("%b %d, %Y, %I:%M:%S %p"),
        "s3Bucket": s3.bucket,
        "s3Prefix": root.removesuffix(f"{export_id}/").rstrip("/"),
        "exportedFilesPath": root.rstrip("/"),
        "status": "COMPLETE",
        "percentProgress": 100,
        "totalExportedDataInGB": 0.0,
    }
    s3.put_json(f"{root}export_info_{export_id}.json", info)
