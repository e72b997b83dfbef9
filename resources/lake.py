"""Delta tables on S3: opening, reading, fingerprinting, and writing only what changed.

Belongs here: every delta-rs call of the lineage. Not here: which rows a table should hold.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
from dagster import ConfigurableResource
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError
from pydantic import PrivateAttr

from resources.s3 import S3Resource

BUCKET = "account_bucket"
_LITERAL_KEYS = 1_000
"""Up to this many changed keys are written into a merge's predicate, so that files are pruned by key statistics.
The predicate is logged literally (20,000 keys made a 722 kB commit), and beyond this the join alone is used."""
_COMMITS_PER_CHECKPOINT = 10
"""Opening a table reads every commit since the last checkpoint, so there are many more of them than delta-rs' 100."""


@dataclass(frozen=True)
class TableSpec:
    """What a Delta table is: its name (also its folder, and its asset's key), columns, key, partition.

    ``text_columns`` are kept out of the log's statistics, which would copy their values into it.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    partitioned: bool = True
    text_columns: tuple[str, ...] = ()

    @property
    def polars_schema(self) -> dict[str, pl.DataType]:
        """Column name → polars type, in order."""
        return dict(pl.from_arrow(self.schema.empty_table()).schema)  # type: ignore[union-attr]

    def empty(self) -> pl.DataFrame:
        """No rows, in this table's columns."""
        return pl.DataFrame(schema=self.polars_schema)


@dataclass(frozen=True)
class Contents:
    """What one bucket of a table or index holds: a fingerprint, rows and bytes. Equal fingerprints, equal rows.

    Of a Delta table the fingerprint covers the names of the active files, which are never changed in place.
    """

    fingerprint: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Changes:
    """How a table was brought to its desired rows, in rows."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.unchanged + other.unchanged,
        )

    @property
    def written(self) -> int:
        """Rows that were inserted, updated or deleted."""
        return self.inserted + self.updated + self.deleted


ABSENT = Contents("absent", 0, 0)
WHOLE = -1
"""Stands for the bucket of a table that has none."""


class LakeResource(ConfigurableResource):  # type: ignore[type-arg]
    """The Delta tables of the lineage, in the bucket of an S3Resource. Reader version 1, so Athena reads them."""

    s3: S3Resource
    max_spill_bytes: int = 4 << 30
    _opened: dict[str, tuple[dict[str, str], DeltaTable]] = PrivateAttr(default_factory=dict)

    def open(self, spec: TableSpec) -> DeltaTable | None:
        """The table at its newest version, or None when it was never written.

        Opening a table reads its log since the last checkpoint, every commit twice, so that is done once a step; after
        that only news is asked for, in two requests. Memory: the list of files of each table that was opened.
        """
        options = self.s3.delta_options  # with credentials that may have been renewed
        known, table = self._opened.get(spec.name, ({}, None))
        if table is not None and known == options:
            table.update_incremental()
            return table
        try:
            table = DeltaTable(self.s3.uri(spec.name), storage_options=options)
        except TableNotFoundError:
            return None
        self._opened[spec.name] = options, table
        return table

    def create(self, spec: TableSpec) -> DeltaTable:
        """The table, made when it does not exist; columns that an older version did not have are added to it."""
        found = self.open(spec)
        if found is not None:
            return self._with_columns(found, spec)
        measured = [name for name in spec.schema.names if name not in (*spec.text_columns, BUCKET)]
        flat = [name for name in measured if not pa.types.is_nested(spec.schema.field(name).type)]
        return DeltaTable.create(
            self.s3.uri(spec.name),
            schema=spec.schema,
            mode="ignore",
            partition_by=[BUCKET] if spec.partitioned else None,
            configuration={
                "delta.dataSkippingStatsColumns": ",".join(flat),
                "delta.checkpointInterval": str(_COMMITS_PER_CHECKPOINT),
            },
            storage_options=self.s3.delta_options,
        )

    def _with_columns(self, table: DeltaTable, spec: TableSpec) -> DeltaTable:
        held = {field.name for field in table.schema().fields}
        absent = [field for field in Schema.from_arrow(spec.schema).fields if field.name not in held]
        if absent:
            table.alter.add_columns(absent)
        return table

    def contents(self, spec: TableSpec) -> dict[int, Contents]:
        """Bucket → its contents, from the log alone; the key is WHOLE for a table without buckets."""
        table = self.open(spec)
        if table is None:
            return {}
        actions = pl.DataFrame(table.get_add_actions(flatten=True))
        bucket = pl.col(f"partition.{BUCKET}").cast(pl.Int64) if spec.partitioned else pl.lit(WHOLE, pl.Int64)
        grouped = actions.group_by(bucket.alias(BUCKET)).agg(
            pl.col("path").sort(), pl.col("num_records").sum(), pl.col("size_bytes").sum()
        )
        return {
            row[BUCKET]: Contents(fingerprint(row["path"]), row["num_records"], row["size_bytes"])
            for row in grouped.iter_rows(named=True)
            if row["path"]
        }

    def scan(self, spec: TableSpec, bucket: int | None = None) -> pl.LazyFrame:
        """The rows of a table, or of one of its buckets; no rows when the table does not exist."""
        return self._rows(self.open(spec), spec, bucket)

    def _rows(self, table: DeltaTable | None, spec: TableSpec, bucket: int | None) -> pl.LazyFrame:
        if table is None:
            return spec.empty().lazy()
        frame = pl.scan_delta(table, storage_options=self.s3.polars_options)
        # A table that an older version wrote gets its new columns when it is next written to; until then they are null.
        held = frame.collect_schema()
        absent = {name: dtype for name, dtype in spec.polars_schema.items() if name not in held}
        frame = (
            frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items()) if absent else frame
        )
        return frame if bucket is None else frame.filter(pl.col(BUCKET) == bucket)

    def sync(self, spec: TableSpec, desired: pl.DataFrame, bucket: int | None = None) -> Changes:
        """Make a table, or one bucket of it, hold exactly the desired rows; writes only what differs.

        One commit, so a reader sees all of the change or none of it. Rows are compared by their whole content, so
        swapped contents are seen. Memory: the bucket's rows twice.
        """
        desired = desired.select(pl.col(name).cast(dtype) for name, dtype in spec.polars_schema.items())
        table = self.open(spec)
        current = self._rows(table, spec, bucket).collect()
        upserts, deletes, changes = difference(current, desired, spec.key)
        if changes.written:
            # The version that was compared with, so that a change which somebody else made meanwhile is a conflict.
            table = self._with_columns(table, spec) if table is not None else self.create(spec)
            if current.is_empty():
                write_deltalake(table, upserts, mode="append")
            else:
                self._merge(table, spec, upserts, deletes, bucket)
        return changes

    def _merge(
        self, table: DeltaTable, spec: TableSpec, upserts: pl.DataFrame, deletes: pl.DataFrame, bucket: int | None
    ) -> None:
        source = pl.concat(
            [upserts.with_columns(_delete=pl.lit(value=False)), deletes.with_columns(_delete=pl.lit(value=True))],
            how="diagonal",
        )
        within = [] if bucket is None else [f"target.{BUCKET} = {bucket}"]
        merge = table.merge(
            source,
            predicate=" AND ".join([*within, *key_predicate(spec.key, source)]),
            source_alias="source",
            target_alias="target",
            streamed_exec=False,
            max_spill_size=self.max_spill_bytes,
        )
        merge = merge.when_matched_delete(predicate="source._delete")
        merge = merge.when_matched_update_all(predicate="NOT source._delete", except_cols=["_delete"])
        merge.when_not_matched_insert_all(predicate="NOT source._delete", except_cols=["_delete"]).execute()

    def append(self, spec: TableSpec, rows: pl.DataFrame) -> None:
        """Add rows in one commit, without looking at those that are there."""
        desired = rows.select(pl.col(name).cast(dtype) for name, dtype in spec.polars_schema.items())
        write_deltalake(self.create(spec), desired, mode="append")

    def applied(self, spec: TableSpec, applications: Iterable[str]) -> dict[str, int]:
        """Application id → the highest version it committed to this table; absent ids are left out."""
        table = self.open(spec)
        if table is None:
            return {}
        found = {app: table.transaction_version(app) for app in applications}
        return {app: version for app, version in found.items() if version is not None}

    def merge_newer(
        self, spec: TableSpec, rows: pl.DataFrame, buckets: Sequence[int], applications: Mapping[str, int]
    ) -> Changes:
        """Merge rows into their buckets where theirs is the later ``updated_at``, and record the applications.

        Rows and applications are one commit: a crash leaves both or neither. ``rows`` has one row a key.
        """
        table = self.create(spec)
        properties = CommitProperties(app_transactions=[Transaction(app, v) for app, v in applications.items()])
        rows = rows.select(pl.col(name).cast(dtype) for name, dtype in spec.polars_schema.items())
        occupied = set(self.contents(spec)) & set(buckets)
        if not occupied:
            write_deltalake(table, rows, mode="append", commit_properties=properties)
            return Changes(inserted=rows.height)
        literal = ", ".join(str(bucket) for bucket in sorted(buckets))
        version = table.version()
        merged = (
            table.merge(
                rows,
                predicate=" AND ".join([f"target.{BUCKET} IN ({literal})", *key_predicate(spec.key, rows)]),
                source_alias="source",
                target_alias="target",
                streamed_exec=False,
                max_spill_size=self.max_spill_bytes,
                commit_properties=properties,
            )
            .when_matched_update_all(predicate="source.updated_at > target.updated_at")
            .when_not_matched_insert_all()
            .execute()
        )
        if table.version() == version:
            # A merge that changes no row commits nothing: without this the window would be merged again every time.
            write_deltalake(table, rows.clear(), mode="append", commit_properties=properties)
        inserted, updated = merged["num_target_rows_inserted"], merged["num_target_rows_updated"]
        return Changes(inserted=inserted, updated=updated, unchanged=rows.height - inserted - updated)

    def delete_where(self, spec: TableSpec, predicate: str) -> None:
        """Delete the rows that a SQL predicate matches, in one commit."""
        table = self.open(spec)
        if table is not None:
            table.delete(predicate)


def fingerprint(parts: Iterable[str]) -> str:
    """A 128-bit hash of a sequence of strings, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def key_predicate(key: tuple[str, ...], source: pl.DataFrame) -> list[str]:
    """The key's equalities, preceded by the literal keys of a small source on the first key column."""
    equalities = [f"target.{name} = source.{name}" for name in key]
    values = source[key[0]].unique()
    if values.dtype != pl.String or values.len() > _LITERAL_KEYS:
        return equalities
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in sorted(values.drop_nulls().to_list()))
    return [f"target.{key[0]} IN ({quoted})", *equalities] if quoted else equalities


def difference(
    current: pl.DataFrame, desired: pl.DataFrame, key: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame, Changes]:
    """What takes ``current`` to ``desired``: rows to upsert, keys to delete (with their bucket), and the counts."""
    names = desired.columns
    joined = desired.join(
        current.select(*key, pl.struct(names).alias("_current")), on=list(key), how="left", nulls_equal=True
    )
    fresh = pl.col("_current").is_null()
    differs = ~fresh & pl.struct(names).ne_missing(pl.col("_current"))
    new, changed = joined.filter(fresh), joined.filter(differs)
    gone = current.join(desired, on=list(key), how="anti", nulls_equal=True)
    counts = Changes(new.height, changed.height, gone.height, desired.height - new.height - changed.height)
    upserts = pl.concat([new, changed]).select(names)
    return upserts, gone.select(*key, *([BUCKET] if BUCKET in names and BUCKET not in key else [])), counts
