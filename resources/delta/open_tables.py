"""Open the Delta tables of the lineage on S3, create them, and take snapshots of them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import polars as pl
import pyarrow as pa
from dagster import ConfigurableResource
from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from obstore.store import S3Store
from pydantic import PrivateAttr
from tenacity import Retrying, retry_if_exception_type, retry_if_not_exception_type, stop_after_attempt

from resources.delta.commit import Commit, CommitConflictError, write_commit
from resources.delta.files import Folder, store_of
from resources.delta.metadata import described, metadata_action
from resources.delta.protocol import refusing_unknown_features, require_readable, require_writable
from resources.delta.snapshot import Lookup, Snapshot
from resources.delta.spec import BUCKET, TableSpec, with_nulls
from resources.s3.client import S3Resource

_ATTEMPTS = 20
COMMITS_PER_CHECKPOINT = 10
"""Opening a table reads every commit since the last checkpoint."""
_LOG_DELETED_MEANWHILE = Retrying(
    retry=retry_if_exception_type(DeltaError) & retry_if_not_exception_type(TableNotFoundError),
    stop=stop_after_attempt(3),
    reraise=True,
)
"""Opens a table again if its log was deleted between listing and reading it: an erasure deletes history."""


class OpenTables(ConfigurableResource):  # type: ignore[type-arg]
    """The Delta tables in the bucket of an S3Resource. Their reader version is 1, so Athena reads them.

    ``retention_hours``: how long maintenance keeps replaced files for readers that began before.
    """

    s3: S3Resource
    retention_hours: int = 7 * 24
    _opened: dict[str, tuple[dict[str, str], DeltaTable]] = PrivateAttr(default_factory=dict)
    _snapshots: dict[str, Snapshot] = PrivateAttr(default_factory=dict)
    _words: dict[str, str] = PrivateAttr(default_factory=dict)
    _stores: dict[str, S3Store] = PrivateAttr(default_factory=dict)
    _lock: Any = PrivateAttr(default_factory=RLock)
    _commit_lock: Any = PrivateAttr(default_factory=RLock)
    _pinned: set[str] | None = PrivateAttr(default=None)

    @property
    def commit_lock(self) -> Any:
        """Return the lock under which a thread of this process commits, so that threads do not race for a version.

        S3 resolves such a race too, but SeaweedFS keeps the loser's body as an object without a key for ever.
        """
        return self._commit_lock

    @property
    def retention(self) -> dict[str, str]:
        """Return the table properties that keep replaced files and the log for ``retention_hours``."""
        interval = f"interval {self.retention_hours} hours"
        return {"delta.deletedFileRetentionDuration": interval, "delta.logRetentionDuration": interval}

    def open(self, spec: TableSpec) -> DeltaTable | None:
        """Return the table at its newest version, or None when it was never written.

        The first call reads the log since the last checkpoint. Later calls ask for new commits, with two requests;
        within ``steady`` only the first of them does, and the first after each change of this process. Memory: the
        table's list of files. Raises UnsupportedTableError for a table that cannot be read.
        """
        with self._lock:  # another thread must not advance the table between two uses
            options = self.s3.delta_options  # its credentials may have been renewed
            known, table = self._opened.get(spec.name, ({}, None))
            if table is None or known != options:
                table = self._load(spec, options)
            elif self._pinned is None or spec.name not in self._pinned:
                table = self._update(spec, table)
            if table is not None and self._pinned is not None:
                self._pinned.add(spec.name)
            return table

    def _load(self, spec: TableSpec, options: dict[str, str]) -> DeltaTable | None:
        try:
            with refusing_unknown_features(self.s3.uri(spec.name)):
                table = _LOG_DELETED_MEANWHILE(DeltaTable, self.s3.uri(spec.name), storage_options=options)
        except TableNotFoundError:
            return None
        require_readable(table)
        self._opened[spec.name] = options, table
        return table

    def _update(self, spec: TableSpec, table: DeltaTable) -> DeltaTable | None:
        try:
            with refusing_unknown_features(self.s3.uri(spec.name)):
                table.update_incremental()
        except TableNotFoundError:  # it was deleted while this process used it
            raise
        except DeltaError:  # the log after this version was deleted with the table's history
            return self._load(spec, self.s3.delta_options)
        require_readable(table)
        return table

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Read each table at one version, except for changes of this process.

        A stage that reads its tables bucket by bucket then sees one state of them, and asks once for new commits. A
        change that conflicts with another process is computed again from the newest version.
        """
        before, self._pinned = self._pinned, set()
        try:
            yield
        finally:
            self._pinned = before

    def refresh(self, spec: TableSpec) -> None:
        """Ask for new commits when the table is next opened, even within ``steady``."""
        with self._lock:
            if self._pinned is not None:
                self._pinned.discard(spec.name)

    def create(self, spec: TableSpec) -> DeltaTable:
        """Return the table; create it, or add columns that an older version did not have.

        Raises UnsupportedTableError for a table that cannot be written.
        """
        found = self.open(spec)
        if found is not None:
            return self.with_columns(found, spec.schema)
        configuration = {
            "delta.checkpointInterval": str(COMMITS_PER_CHECKPOINT),
            **({"delta.enableChangeDataFeed": "true"} if spec.feeds else {}),
            **self.retention,
        }
        bare = {"schemaString": Schema.from_arrow(spec.schema).to_json(), "configuration": configuration}
        new = described(bare, spec, self._words.get(spec.name, ""))
        self.s3.require_condition("IfNoneMatch")
        try:
            DeltaTable.create(
                self.s3.uri(spec.name),
                schema=Schema.from_json(new["schemaString"]),
                mode="ignore",
                partition_by=[BUCKET] if spec.partitioned else None,
                description=new["description"] or None,
                configuration=new["configuration"],
                storage_options=self.s3.delta_options,
            )
        except (DeltaError, OSError):
            # Another writer may have created it, or this one, and the answer was lost.
            if self.open(spec) is None:
                raise
        return self._require(spec)

    @contextmanager
    def describing(self, spec: TableSpec, description: str) -> Iterator[None]:
        """Create the table with its description, if it is created here; bring that of a table that exists up to date.

        For the words of its columns see `describe`.
        """
        self._words[spec.name] = description
        yield
        self.describe(spec, description)

    def describe(self, spec: TableSpec, description: str) -> bool:
        """Bring the description, the columns' comments and the columns with statistics of a table up to date.

        Return whether something differed and was committed. The commit has no rows and no files, so no fingerprint
        changes. If another writer is first, the next call commits it. Raises UnsupportedTableError.
        """
        _, known = self._opened.get(spec.name, ({}, None))
        if known is not None and _is_described(known, spec, description):
            return False  # without a request
        table = self.open(spec)
        if table is None or _is_described(table, spec, description):
            return False
        require_writable(table)
        commit = Commit("SET TBLPROPERTIES", metadata=described(metadata_action(table), spec, description))
        try:
            with self.commit_lock:
                write_commit(self.s3, spec.name, table.version(), commit, conflicts=bool)
        except CommitConflictError:
            return False
        finally:
            self.refresh(spec)
        self.open(spec)
        return True

    def _require(self, spec: TableSpec) -> DeltaTable:
        found = self.open(spec)
        if found is None:
            raise TableNotFoundError(self.s3.uri(spec.name))
        return found

    def with_columns(self, table: DeltaTable, schema: pa.Schema) -> DeltaTable:
        """Add the columns of ``schema`` that a table does not have, and return it."""
        with self._lock:  # two buckets of a table may be written at the same time
            require_writable(table)
            fields = [Field(field.name, field.type) for field in Schema.from_arrow(schema).fields]
            for left in reversed(range(_ATTEMPTS)):
                present = {field.name for field in table.schema().fields}
                absent = [field for field in fields if field.name not in present]
                if not absent:
                    break
                try:
                    table.alter.add_columns(absent)
                    break
                except CommitFailedError:  # another writer changed the columns first, perhaps by the same ones
                    if not left:
                        raise
                    table.update_incremental()
                except OSError:  # the answer of this commit may be lost
                    table.update_incremental()
                    if {field.name for field in absent} - {field.name for field in table.schema().fields}:
                        raise
                    break
        return table

    def checkpoint(self, spec: TableSpec) -> None:
        """Write a checkpoint of the newest version."""
        self._require(spec).create_checkpoint()

    def snapshot(self, spec: TableSpec) -> Snapshot | None:
        """Return the table's files at its newest version, from the log alone; None when it was never written."""
        with self._lock:
            table = self.open(spec)
            return None if table is None else self._snapshot(spec, table)

    def writable_snapshot(self, spec: TableSpec) -> Snapshot:
        """Return the snapshot of a table that exists. Raises UnsupportedTableError if it cannot be written."""
        with self._lock:
            table = self._require(spec)
            require_writable(table)
            return self._snapshot(spec, table)

    def _snapshot(self, spec: TableSpec, table: DeltaTable) -> Snapshot:
        found = self._snapshots.get(spec.name)
        if found is None or found.version != table.version():
            found = self._snapshots[spec.name] = Snapshot.of(table, spec)
        return found

    def is_outdated(self, spec: TableSpec, snapshot: Snapshot) -> bool:
        """Return whether a later version exists. If so, files of the snapshot may have been deleted."""
        self.refresh(spec)
        return self.writable_snapshot(spec).version > snapshot.version

    def lookup(self, spec: TableSpec, snapshot: Snapshot) -> Lookup:
        """Return a reader of the rows of a snapshot."""
        return Lookup(self.folder(spec, snapshot), snapshot)

    def folder(self, spec: TableSpec, snapshot: Snapshot) -> Folder:
        """Return the files of a table with its columns at a snapshot, which may be more than the spec's."""
        options = repr(self.s3.obstore_options)
        if options not in self._stores:
            self._stores.clear()  # their credentials expire
            self._stores[options] = store_of(self.s3)
        in_files = pa.schema([field for field in snapshot.schema if not (spec.partitioned and field.name == BUCKET)])
        measured = tuple(name for name in spec.measured if name in in_files.names)
        return Folder(self._stores[options], spec.name, in_files, measured, spec.target_bytes, spec.row_group_bytes)

    def applied(self, spec: TableSpec, applications: Iterable[str]) -> dict[str, int]:
        """Return application id → the highest version it committed to this table; unknown ids are left out."""
        with self._lock:
            table, asked = self.open(spec), list(applications)
            try:
                found = _transactions(table, asked)
            except DeltaError:  # they are read from the log, which was deleted with the table's history
                found = _transactions(self._load(spec, self.s3.delta_options), asked)
        return {app: version for app, version in found.items() if version is not None}

    def scan(self, spec: TableSpec, bucket: int | None = None) -> pl.LazyFrame:
        """Return the rows of a table or one of its buckets, read from S3 as the query needs them.

        A table that does not exist has no rows. A column that an older version did not write is null.
        """
        table = self.open(spec)
        if table is None:
            return spec.empty().lazy()
        frame = with_nulls(pl.scan_delta(table, storage_options=self.s3.polars_options), spec)
        return frame if bucket is None else frame.filter(pl.col(BUCKET) == bucket)


def _transactions(table: DeltaTable | None, applications: Iterable[str]) -> dict[str, int | None]:
    return {} if table is None else {app: table.transaction_version(app) for app in applications}


def _is_described(table: DeltaTable, spec: TableSpec, description: str) -> bool:
    found = metadata_action(table)
    return described(found, spec, description) == found
