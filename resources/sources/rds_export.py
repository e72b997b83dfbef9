"""Read RDS snapshot exports on S3: list them, test whether they are complete, stream their rows."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import pyarrow as pa
from dagster import ConfigurableResource

from resources.errors import PermanentFailure, TransientFailure
from resources.s3.client import DamagedObjectError, S3Object, S3Resource
from resources.s3.parquet import read_columns
from resources.sources.export_metadata import (
    COMPLETE,
    ENDED,
    ExportInfo,
    ExportMetadataError,
    TableExport,
    described_ranges,
    entries,
)
from resources.sources.protocol import BEFORE_ALL, KeyRange, ReadWindow

SOURCE = "rds_export"
SCHEMA = "public"
_SUCCESS = "_SUCCESS"
_SKIPPED = (
    "AWS leaves out, without an error, a table with a column whose name holds a space or one of , ; { } ( ) = tab or "
    "newline, a table with / in its name, an unlogged table, and a table with a row near 2 GB; rename or convert it, "
    "and export again."
)


class ExportNotReadyError(TransientFailure):
    """An export is still being written; a retry may find it complete."""


class ExportUnusableError(PermanentFailure):
    """An export will never be complete, or lacks a required table; the message says what to do."""


class ExportAmbiguousError(ExportUnusableError):
    """An export has the table in several databases; a setting must name the database."""


@dataclass(frozen=True)
class ExportState:
    """Whether an export can be landed. ``reason`` is one sentence, or blank when it can.

    ``is_final`` means that waiting cannot change the answer: the export is complete, or never will be.
    """

    export_id: str
    is_complete: bool
    is_final: bool
    reason: str = ""


class RdsExportResource(ConfigurableResource):  # type: ignore[type-arg]
    """The snapshot exports under one prefix of S3.

    ``location`` is ``s3://bucket/prefix`` in the lake's region, or a prefix in the lake's own bucket. ``database``
    selects a database of the instance, where several have the same tables. ``open_transaction_seconds`` is the longest
    age of a transaction that was open at the snapshot: an export does not show its rows.
    """

    s3: S3Resource
    location: str = ""
    database: str = ""
    open_transaction_seconds: int = 3600

    @cached_property
    def _at(self) -> S3Resource:
        if not self.location.startswith("s3://"):
            return self.s3
        bucket = self.location.removeprefix("s3://").partition("/")[0]
        # A copy shares the clients, and with them the governor; only the bucket differs.
        return self.s3.model_copy(update={"bucket": bucket})

    @property
    def _prefix(self) -> str:
        path = self.location.removeprefix("s3://").partition("/")[2] if "://" in self.location else self.location
        return f"{path.strip('/')}/" if path.strip("/") else ""

    @property
    def own_prefix(self) -> str:
        """Return the prefix of the exports in the lake's own bucket, blank if they are elsewhere."""
        return self._prefix if self.location and self._at.bucket == self.s3.bucket else ""

    def listed(self) -> list[str]:
        """Return the sorted ids of all exports under the prefix, complete or not; one request per 1,000."""
        if not self.location:
            return []
        folders = self._at.list_folders(self._prefix)
        return sorted(folder.removeprefix(self._prefix).rstrip("/") for folder in folders)

    def completeness(self, export_id: str, tables: Collection[str]) -> ExportState:
        """Return whether ``tables`` (names without schema) of an export are complete, and if not, why.

        Read the metadata files and list the folders of those tables.
        """
        try:
            self.open(export_id, tables)
        except (ExportNotReadyError, ExportAmbiguousError) as error:
            return ExportState(export_id, is_complete=False, is_final=False, reason=str(error))
        except ExportUnusableError as error:
            return ExportState(export_id, is_complete=False, is_final=True, reason=str(error))
        return ExportState(export_id, is_complete=True, is_final=True)

    def open(self, export_id: str, tables: Collection[str]) -> "SnapshotExport":
        """Return an export whose ``tables`` are complete. Raise ExportNotReadyError or ExportUnusableError."""
        if not self.location:
            raise ExportUnusableError(f"The location of export {export_id} is not known; set CIPPUS_RDS_EXPORTS.")
        root = f"{self._prefix}{export_id}/"
        try:
            info = self._info(export_id, root)
            described = self._described(export_id, root)
            found = {table: self._table(table, export_id, info, described) for table in tables}
        except (ExportMetadataError, DamagedObjectError) as error:
            raise ExportUnusableError(str(error)) from None
        files = {name: _data_files(self._at, f"{root}{table.folder}", export_id) for name, table in found.items()}
        allowance = timedelta(seconds=self.open_transaction_seconds)
        return SnapshotExport(self._at, export_id, info.snapshot, allowance, found, files)

    def _info(self, export_id: str, root: str) -> ExportInfo:
        file = f"export_info_{export_id}.json"
        value = self._at.get_json(f"{root}{file}")
        if value is None and export_id not in (listed := self.listed()):
            known = f"the last ones there are {', '.join(listed[-5:])}" if listed else "no export is there"
            raise ExportUnusableError(f"There is no export {export_id} in {self.location}: {known}.")
        if value is None:
            raise ExportNotReadyError(
                f"Export {export_id} has no {file} yet: it is still being written, or the folder is not an export."
            )
        info = ExportInfo.from_json(value, file)
        if info.status in ENDED:
            raise ExportUnusableError(
                f"Export {export_id} is {info.status} ({info.failure or 'AWS gives no cause'}); export again."
            )
        if info.status != COMPLETE:
            raise ExportNotReadyError(f"Export {export_id} is {info.status}, not {COMPLETE} yet.")
        return info

    def _described(self, export_id: str, root: str) -> list[TableExport]:
        listed = self._at.list_objects(f"{root}export_tables_info_{export_id}_from_")
        names, missing = described_ranges((item.key.removeprefix(root) for item in listed), export_id)
        if missing is not None:
            raise ExportNotReadyError(
                f"Export {export_id} has no export_tables_info file for table number {missing} yet."
            )
        return [
            TableExport.from_json(entry, name)
            for name in names
            for entry in entries(self._at.get_json(f"{root}{name}") or {}, "perTableStatus", name)
        ]

    def _table(self, table: str, export_id: str, info: ExportInfo, described: Iterable[TableExport]) -> TableExport:
        where = self.database or "a database"
        found = [
            entry
            for entry in described
            if entry.table == table
            # MySQL has no schemas; its exports repeat the database's name there.
            and entry.schema in {SCHEMA, entry.database}
            and self.database in {"", entry.database}
        ]
        found = [entry for entry in found if entry.schema == SCHEMA] or found
        if not found:
            excluded = info.leaves_out(f"{SCHEMA}.{table}")
            cause = (
                f"It was requested for {', '.join(info.export_only)} only; export the table too."
                if excluded
                else _SKIPPED
            )
            raise ExportUnusableError(f"Export {export_id} lacks the table {SCHEMA}.{table} of {where}. {cause}")
        if len(found) > 1:
            names = ", ".join(sorted(entry.database for entry in found))
            raise ExportAmbiguousError(
                f"Export {export_id} has {SCHEMA}.{table} in several databases ({names}); set "
                "CIPPUS_RDS_EXPORT_DATABASE to the one to read."
            )
        [entry] = found
        warning = f": {entry.warning}" if entry.warning else ""
        if entry.status in ENDED or entry.status == "SKIPPED":
            raise ExportUnusableError(
                f"Export {export_id} has {entry.status} for {SCHEMA}.{table}{warning or ', without a cause'}."
            )
        if entry.status != COMPLETE:
            raise ExportNotReadyError(
                f"Export {export_id} has {entry.status or 'no state'} for {SCHEMA}.{table}, not {COMPLETE} yet."
            )
        return entry


@dataclass(frozen=True)
class SnapshotExport:
    """One complete export as a source. A snapshot has no window, so all rows of a table are read.

    ``described`` and ``files`` are keyed by table; files are Parquet on ``s3``.
    """

    s3: S3Resource
    export_id: str
    snapshot: datetime
    allowance: timedelta
    described: Mapping[str, TableExport]
    files: Mapping[str, tuple[S3Object, ...]]

    @property
    def name(self) -> str:
        """Return the name in keys of windows."""
        return SOURCE

    def safe_high_water_mark(self) -> datetime:
        """Return the snapshot's time, less the longest age of a transaction that was open then."""
        return self.snapshot - self.allowance

    def mark_of(self, newest: datetime | None) -> datetime:
        """Return the mark from the newest row, if that is older: a copied snapshot carries the time of the copy.

        A snapshot is never older than its newest row. Without rows its age is unknown: return BEFORE_ALL.
        """
        return min(self.snapshot, newest) - self.allowance if newest else BEFORE_ALL

    def columns(self, table: str) -> Mapping[str, str]:
        """Return column → Postgres type, from ``originalTypeMappings``; empty if the table does not exist."""
        return self.described[table].columns if table in self.described else {}

    @contextmanager
    def read(self, window: ReadWindow) -> Iterator[pa.RecordBatchReader]:
        """Stream all rows of a table, whatever the window's bounds, in the export's types, mostly strings.

        Memory: one batch and one encoded row group, up to 128 MB as AWS writes them.
        """
        if window.keys != KeyRange():
            raise ValueError("A snapshot export cannot be read by ranges of its key.")
        yield read_columns(self.s3, [file.key for file in self.files[window.table]], window.columns)


def _data_files(s3: S3Resource, folder: str, export_id: str) -> tuple[S3Object, ...]:
    """Return the Parquet files of a table, in numbered batch folders or directly in the table's folder.

    Numbers may have gaps, and an empty table has no file. Raise ExportNotReadyError if a folder of files, or the whole
    table, lacks its ``_SUCCESS``.
    """
    listed = sorted(s3.list_objects(folder), key=lambda item: item.key)
    ended = {item.key.removesuffix(_SUCCESS) for item in listed if item.key.endswith(f"/{_SUCCESS}")}
    files = tuple(item for item in listed if item.key.endswith(".parquet"))
    unfinished = sorted({f"{file.key.rpartition('/')[0]}/" for file in files} - ended) or ([] if ended else [folder])
    if unfinished:
        raise ExportNotReadyError(f"Export {export_id} has no {_SUCCESS} in {s3.uri(unfinished[0])} yet.")
    return files
