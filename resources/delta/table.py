"""The Delta tables of the lineage on S3: opening, reading, and the one way in which any of them is written."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import RLock, local
from typing import Any

import polars as pl
import pyarrow as pa
from dagster import ConfigurableResource
from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from obstore.store import S3Store
from pydantic import PrivateAttr

from resources.delta.change import COMMITS_PER_CHECKPOINT, change
from resources.delta.columns import arrow_schema, no_standing, typed
from resources.delta.commit import OutrunError
from resources.delta.files import MOST_WHOLE_BYTES, Folder, store_of
from resources.delta.fingerprint import add_up, named_sum
from resources.delta.merge import FILE, LATER_WINS, BucketWindow, Edit, MergeRule, difference, newer
from resources.delta.snapshot import BucketRows, Lookup, Snapshot
from resources.delta.spec import ABSENT, BUCKET, WHOLE, Changes, Contents, TableSpec, fingerprint
from resources.s3.client import S3Resource

__all__ = [
    "ABSENT",
    "BUCKET",
    "WHOLE",
    "Changes",
    "Contents",
    "LakeResource",
    "OutrunError",
    "TableSpec",
    "fingerprint",
]


class LakeResource(ConfigurableResource):  # type: ignore[type-arg]
    """The Delta tables of the lineage, in the bucket of an S3Resource. Reader version 1, so Athena reads them.

    ``retention_hours`` is how long upkeep leaves replaced files to readers that began before.
    """

    s3: S3Resource
    retention_hours: int = 7 * 24
    _opened: dict[str, tuple[dict[str, str], DeltaTable]] = PrivateAttr(default_factory=dict)
    _snapshots: dict[str, tuple[DeltaTable, Snapshot]] = PrivateAttr(default_factory=dict)
    _stores: dict[str, S3Store] = PrivateAttr(default_factory=dict)
    _held: Any = PrivateAttr(default_factory=local)
    _lock: Any = PrivateAttr(default_factory=RLock)
    _commits: Any = PrivateAttr(default_factory=RLock)
    _news: Counter[str] = PrivateAttr(default_factory=Counter)
    _looked_at: dict[str, int] | None = PrivateAttr(default=None)

    def open(self, spec: TableSpec) -> DeltaTable | None:
        """The table at its newest version, or None when it was never written.

        Opening a table reads its log since the last checkpoint, every commit twice, so that is done once a step; after
        that only news is asked for, in two requests. Memory: the list of files of each table that was opened.
        Within ``steady`` news is asked for once, and after each change of this process.
        """
        with self._lock:  # or another thread moves the table on between two looks at it
            options = self.s3.delta_options  # with credentials that may have been renewed
            news = self._news[spec.name]  # as it is before looking: another thread may commit meanwhile
            known, table = self._opened.get(spec.name, ({}, None))
            if table is not None and known == options:
                if self._looked_at is None or self._looked_at.get(spec.name) != news:
                    table.update_incremental()
                    self._note_look(spec, news)
                return table
            try:
                table = DeltaTable(self.s3.uri(spec.name), storage_options=options)
            except TableNotFoundError:
                return None
            self._opened[spec.name] = options, table
            self._note_look(spec, news)
            return table

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Read each table at one version, as it was when it was first looked at, but for changes of this process.

        A stage reads its tables bucket by bucket: it then sees one state of them, and asks once whether there is
        another. A change that another process outruns is computed anew from the newest version.
        """
        before, self._looked_at = self._looked_at, {}
        try:
            yield
        finally:
            self._looked_at = before

    def look_again(self, spec: TableSpec) -> None:
        """Ask for news of a table when it is next opened, steady or not."""
        with self._lock:
            self._news[spec.name] += 1

    @contextmanager
    def committing(self) -> Iterator[None]:
        """One thread of this process at a time: they would race for the same version.

        S3 settles that, too, but SeaweedFS keeps the loser's body as an object of no key, which never goes.
        """
        with self._commits:
            yield

    def _note_look(self, spec: TableSpec, news: int) -> None:
        if self._looked_at is not None:
            self._looked_at[spec.name] = news

    def create(self, spec: TableSpec) -> DeltaTable:
        """The table, made when it does not exist; columns that an older version did not have are added to it."""
        found = self.open(spec)
        if found is not None:
            return self._with_columns(found, spec.schema)
        configuration = {
            # Statistics are those of our own writer; another one, of a table like this, would otherwise log texts.
            "delta.dataSkippingStatsColumns": ",".join(spec.measured),
            "delta.checkpointInterval": str(COMMITS_PER_CHECKPOINT),
            **({"delta.enableChangeDataFeed": "true"} if spec.feeds else {}),
            **self.retention,
        }
        try:
            DeltaTable.create(
                self.s3.uri(spec.name),
                schema=spec.schema,
                mode="ignore",
                partition_by=[BUCKET] if spec.partitioned else None,
                configuration=configuration,
                storage_options=self.s3.delta_options,
            )
        except (DeltaError, OSError):
            # Another writer may have just made it, or this one, whose request was carried out and its answer lost.
            if self.open(spec) is None:
                raise
        return self._require(spec)

    @property
    def retention(self) -> dict[str, str]:
        """The table properties that keep replaced files, and the log that names them, for ``retention_hours``."""
        interval = f"interval {self.retention_hours} hours"
        return {"delta.deletedFileRetentionDuration": interval, "delta.logRetentionDuration": interval}

    def _require(self, spec: TableSpec) -> DeltaTable:
        found = self.open(spec)
        if found is None:
            raise TableNotFoundError(self.s3.uri(spec.name))
        return found

    def _with_columns(self, table: DeltaTable, schema: pa.Schema) -> DeltaTable:
        with self._lock:  # two buckets of a table may be written at a time
            held = {field.name for field in table.schema().fields}
            absent = [
                Field(field.name, field.type) for field in Schema.from_arrow(schema).fields if field.name not in held
            ]
            if absent:
                table.alter.add_columns(absent)
        return table

    def checkpoint(self, spec: TableSpec) -> None:
        """Write what the log says by now in one file, from which the table is opened."""
        self._require(spec).create_checkpoint()

    def contents(self, spec: TableSpec, buckets: Sequence[int] | None = None) -> dict[int, Contents]:
        """Bucket (of some, or of all) → its contents, from the log alone; WHOLE is the key of a table without."""
        snapshot = self.snapshot(spec)
        if snapshot is None:
            return {}
        grouped = (
            snapshot.in_buckets(buckets)
            .group_by("bucket")
            .agg(pl.col("path").sort(), pl.col("rows").sum(), pl.col("size_bytes").sum())
        )
        return {
            row["bucket"]: Contents(_fingerprint(row["path"]), row["rows"], row["size_bytes"])
            for row in grouped.iter_rows(named=True)
        }

    def snapshot(self, spec: TableSpec) -> Snapshot | None:
        """The table's files at its newest version, from the log alone; None when it was never written."""
        with self._lock:
            table = self.open(spec)
            if table is None:
                return None
            known = self._snapshots.get(spec.name)
            if known is None or known[0] is not table or known[1].version != table.version():
                known = self._snapshots[spec.name] = table, Snapshot.of(table, spec)
            return known[1]

    def scan(self, spec: TableSpec, bucket: int | None = None) -> pl.LazyFrame:
        """The rows of a table, or of one of its buckets; no rows when the table does not exist.

        Within ``steady`` a bucket of not more than MOST_WHOLE_BYTES is read whole, a request a file, and kept for the
        stages that follow; else only what the query needs is read.
        """
        table = self.open(spec)
        if table is None:
            return spec.empty().lazy()
        frame = None if bucket is None or self._looked_at is None else self._query(spec, bucket)
        if frame is None:
            frame = pl.scan_delta(table, storage_options=self.s3.polars_options)
        # A table that an older version wrote gets its new columns when it is next written to; until then they are null.
        held = frame.collect_schema()
        absent = {name: dtype for name, dtype in spec.polars_schema.items() if name not in held}
        frame = (
            frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items()) if absent else frame
        )
        return frame if bucket is None else frame.filter(pl.col(BUCKET) == bucket)

    def _query(self, spec: TableSpec, bucket: int) -> pl.LazyFrame | None:
        snapshot = self.snapshot(spec)
        if snapshot is None or snapshot.in_buckets([bucket])["size_bytes"].sum() > MOST_WHOLE_BYTES:
            return None
        return self.lookup(spec, snapshot).query(bucket)

    def rows_of(
        self, spec: TableSpec, keys: pl.DataFrame, columns: Sequence[str], buckets: Iterable[int] | None = None
    ) -> pl.DataFrame:
        """The rows whose key columns equal a row of ``keys`` (one or more of the table's, its first among them).

        Bytes read are those of the row groups whose key range holds one of the keys, and of their columns only.
        """
        snapshot = self.snapshot(spec)
        if snapshot is None:
            return spec.empty().select(columns)
        return self.lookup(spec, snapshot).rows_of(keys, columns, buckets).drop(FILE)

    def lookup(self, spec: TableSpec, snapshot: Snapshot) -> Lookup:
        """Reading rows of a snapshot by key, or all."""
        return Lookup(self.folder(spec, snapshot), snapshot)

    def folder(self, spec: TableSpec, snapshot: Snapshot) -> Folder:
        """The files of a table in its columns at a snapshot, which may be more than the spec's."""
        options = repr(self.s3.obstore_options)
        store = self._stores.get(options)
        if store is None:
            self._stores.clear()  # those had credentials that expire
            store = self._stores[options] = store_of(self.s3)
        in_files = pa.schema([field for field in snapshot.schema if not (spec.partitioned and field.name == BUCKET)])
        return Folder(
            store,
            spec.name,
            in_files,
            tuple(spec.measured),
            spec.target_bytes,
            spec.row_group_bytes,
        )

    def held(self, spec: TableSpec, bucket: int | None = None) -> pl.DataFrame:
        """The rows of a table, or of one of its buckets, for whoever brings them up to date: ``sync`` is next.

        Memory: those rows, until this thread syncs or asks for others.
        """
        snapshot = self.snapshot(spec)
        if snapshot is None:
            return spec.empty()
        rows = self.lookup(spec, snapshot).all_rows(None if bucket is None else [bucket])
        self._held.of = spec.name, BucketRows(snapshot, bucket, rows)
        absent = {name: dtype for name, dtype in spec.polars_schema.items() if name not in rows.columns}
        return rows.drop(FILE).with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items())

    def _standing(self, spec: TableSpec, bucket: int | None, lookup: Lookup) -> pl.DataFrame:
        """All rows of a bucket with FILE; those that this thread has just read are not read again."""
        name, known = getattr(self._held, "of", ("", None))
        self._held.of = "", None
        found = known.at(lookup.snapshot) if known and (name, known.bucket) == (spec.name, bucket) else None
        return lookup.all_rows(None if bucket is None else [bucket]) if found is None else found

    def sync(self, spec: TableSpec, desired: pl.DataFrame, bucket: int | None = None) -> Changes:
        """Make a table, or one bucket of it, hold exactly the desired rows; writes only what differs.

        One commit, so a reader sees all of the change or none of it. Rows are compared by their whole content, so
        swapped contents are seen. Memory: the bucket's rows twice.
        """
        if self.open(spec) is None and desired.is_empty():
            return Changes()
        buckets = None if bucket is None else [bucket]

        def decide(lookup: Lookup, _: Mapping[str, int]) -> Edit:
            return difference(self._standing(spec, bucket, lookup), typed(desired, lookup.snapshot.schema), spec.key)

        return change(self, spec, decide, buckets)

    def append(self, spec: TableSpec, rows: pl.DataFrame) -> None:
        """Add rows in one commit, without looking at those that are there."""

        def decide(lookup: Lookup, _: Mapping[str, int]) -> Edit:
            after = typed(rows, lookup.snapshot.schema)
            return Edit(no_standing(after), after, Changes(inserted=after.height))

        change(self, spec, decide, ())

    def delete_where(self, spec: TableSpec, predicate: str, instead: pl.DataFrame | None = None) -> Changes:
        """Delete the rows that a SQL predicate matches, and put others in, in one commit."""
        if self.open(spec) is None:
            return Changes()

        def decide(lookup: Lookup, _: Mapping[str, int]) -> Edit:
            columns = [*spec.key, *([BUCKET] if spec.partitioned else [])]
            doomed = self.scan(spec).filter(pl.sql_expr(predicate)).select(columns).collect()
            standing = lookup.rows_of(doomed.select(spec.key), lookup.snapshot.schema.names)
            before = standing.join(doomed, on=columns, how="semi", nulls_equal=True)
            after = typed(spec.empty() if instead is None else instead, lookup.snapshot.schema)
            return Edit(before, after, Changes(inserted=after.height, deleted=before.height))

        return change(self, spec, decide, None)

    def applied(self, spec: TableSpec, applications: Iterable[str]) -> dict[str, int]:
        """Application id → the highest version it committed to this table; absent ids are left out."""
        with self._lock:
            table = self.open(spec)
            found = {} if table is None else {app: table.transaction_version(app) for app in applications}
        return {app: version for app, version in found.items() if version is not None}

    def merge_newer(
        self,
        spec: TableSpec,
        rows: pl.DataFrame,
        buckets: Sequence[int],
        applications: Mapping[str, int],
        rule: MergeRule = LATER_WINS,
        window: BucketWindow | None = None,
    ) -> Changes:
        """Merge rows into their buckets where theirs is the later ``updated_at``, and record the applications.

        Rows and applications are one commit: a crash leaves both or neither, and a repetition changes nothing.
        ``rows`` has one row a key; ``rule`` says what wins beside the later one. A row of a table whose
        keys move is taken out of the bucket where it stood in the same commit: for that, a key that is new in its own
        bucket is looked for in the others, in one file of each at most where files are clustered. Rows of a ``window``
        that another run merged into their bucket by now are unchanged.
        """

        def decide(lookup: Lookup, recorded: Mapping[str, int]) -> Edit:
            coming = typed(rows, lookup.snapshot.schema, only_given=True)
            due = coming.filter(~pl.col(BUCKET).is_in(window.merged(recorded))) if window else coming
            standing = lookup.standing(spec, due)
            elsewhere = window.of({*standing[BUCKET].unique()} - {*buckets}) if window else set()
            known = {**recorded, **(self.applied(spec, elsewhere) if elsewhere else {})}
            in_order = replace(rule, ahead=window.ahead(known)) if window else rule
            edit = newer(standing, due, spec.key, in_order)
            changes = edit.changes + Changes(unchanged=coming.height - due.height)
            return replace(edit, after=typed(edit.after, lookup.snapshot.schema), changes=changes)

        if spec.evolves:
            self._with_columns(self.create(spec), arrow_schema(rows.drop(spec.schema.names, strict=False)))
        return change(self, spec, decide, buckets, applications, window)


def _fingerprint(paths: Sequence[str]) -> str:
    """Of the rows of some files: by the sums in their names, and by the names of files that are somebody else's."""
    sums = {path: named_sum(path) for path in paths}
    total = add_up(value for value in sums.values() if value is not None)
    return fingerprint([f"{total:032x}", *(path for path, value in sums.items() if value is None)])
