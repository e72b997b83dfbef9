"""Read and write the Delta tables of the lineage."""

from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl

from resources.delta.change import Base, change, merge_edit
from resources.delta.commit import CommitConflictError
from resources.delta.files import MOST_WHOLE_BYTES
from resources.delta.fingerprint import add_up, named_sum
from resources.delta.merge import FILE, BucketWindow, Edit, MergeRule, difference
from resources.delta.open_tables import OpenTables
from resources.delta.snapshot import BucketRows
from resources.delta.spec import (
    ABSENT,
    BUCKET,
    WHOLE,
    Changes,
    Column,
    Contents,
    TableSpec,
    arrow_schema,
    fingerprint,
    typed,
    with_nulls,
)

__all__ = [
    "ABSENT",
    "BUCKET",
    "WHOLE",
    "Changes",
    "Column",
    "CommitConflictError",
    "Contents",
    "LakeResource",
    "TableSpec",
    "fingerprint",
]


class LakeResource(OpenTables):
    """The Delta tables of the lineage. Every write is one commit; only files with changed rows are rewritten."""

    def contents(self, spec: TableSpec, buckets: Sequence[int] | None = None) -> dict[int, Contents]:
        """Return bucket (of some, or of all) → its contents, from the log alone; WHOLE for a table without buckets."""
        snapshot = self.snapshot(spec)
        if snapshot is None:
            return {}
        files = snapshot.in_buckets(buckets).group_by("bucket")
        grouped = files.agg(pl.col("path").sort(), pl.col("rows").sum(), pl.col("size_bytes").sum())
        return {bucket: Contents(_fingerprint(paths), rows, size) for bucket, paths, rows, size in grouped.iter_rows()}

    def scan_cached(self, spec: TableSpec, bucket: int | None = None) -> pl.LazyFrame:
        """Return the rows of a table or bucket as ``scan`` does, from files in memory if the bucket is small.

        The files of a bucket of at most MOST_WHOLE_BYTES are read whole, one request each, and kept for the stages
        that follow.
        """
        snapshot = None if bucket is None else self.snapshot(spec)
        if bucket is None or snapshot is None or snapshot.in_buckets([bucket])["size_bytes"].sum() > MOST_WHOLE_BYTES:
            return self.scan(spec, bucket)
        return with_nulls(self.lookup(spec, snapshot).query(bucket), spec)

    def bucket_rows(self, spec: TableSpec, bucket: int | None = None) -> BucketRows | None:
        """Return all rows of a table or bucket, to be passed to ``sync``; None for a table that does not exist."""
        snapshot = self.snapshot(spec)
        if snapshot is None:
            return None
        rows = self.lookup(spec, snapshot).all_rows(None if bucket is None else [bucket])
        return BucketRows(snapshot, bucket, rows)

    def sync(
        self, spec: TableSpec, desired: pl.DataFrame, bucket: int | None = None, current: BucketRows | None = None
    ) -> Changes:
        """Make a table, or one bucket of it, equal the desired rows. Write only the differences, in one commit.

        ``current``: its rows, if the caller has read them; they are read again only if they have changed since. Rows
        are compared by all their columns. Memory: the bucket's rows twice.
        """
        if self.open(spec) is None and desired.is_empty():
            return Changes()
        buckets = None if bucket is None else [bucket]
        return change(self, spec, partial(_sync_edit, desired, buckets, current), buckets)

    def append(self, spec: TableSpec, rows: pl.DataFrame) -> None:
        """Add rows in one commit, without reading the table."""
        change(self, spec, partial(_append_edit, rows), ())

    def delete_where(self, spec: TableSpec, predicate: str, instead: pl.DataFrame | None = None) -> Changes:
        """Delete the rows that match a SQL predicate, and insert ``instead``, in one commit."""
        if self.open(spec) is None:
            return Changes()
        return change(self, spec, partial(_delete_edit, predicate, spec.empty() if instead is None else instead), None)

    def merge_newer(
        self,
        spec: TableSpec,
        rows: pl.DataFrame,
        buckets: Sequence[int],
        applications: Mapping[str, int],
        rule: MergeRule | None = None,
        window: BucketWindow | None = None,
    ) -> Changes:
        """Merge rows into their buckets where their ``updated_at`` is later, and record the applications.

        Rows and applications are one commit: a crash leaves both or neither, and a repetition changes nothing.
        ``rows`` has one row a key. ``rule`` adds cases in which a row wins. In a table whose keys move, a row is
        deleted from its old bucket in the same commit; a key that is new in its bucket is searched in the others. Rows
        of a ``window`` that another run has merged into their bucket are unchanged.
        """
        if spec.evolves:
            self.with_columns(self.create(spec), arrow_schema(rows.drop(spec.schema.names, strict=False)))
        decide = partial(merge_edit, rows, buckets, rule or MergeRule(), window)
        return change(self, spec, decide, buckets, applications, window)


def in_columns(spec: TableSpec, found: BucketRows | None) -> pl.DataFrame:
    """Return the rows of a bucket in at least the columns of the spec, without FILE."""
    return spec.empty() if found is None else with_nulls(found.rows.drop(FILE).lazy(), spec).collect()


def _sync_edit(desired: pl.DataFrame, buckets: list[int] | None, current: BucketRows | None, base: Base) -> Edit:
    rows = None if current is None else current.at(base.lookup.snapshot)
    if rows is None:
        rows = base.lookup.all_rows(buckets)
    return difference(rows, typed(desired, base.lookup.snapshot.schema), base.spec.key)


def _append_edit(rows: pl.DataFrame, base: Base) -> Edit:
    after = typed(rows, base.lookup.snapshot.schema)
    return Edit(after.clear().with_columns(pl.lit(None, pl.UInt32).alias(FILE)), after, Changes(inserted=after.height))


def _delete_edit(predicate: str, instead: pl.DataFrame, base: Base) -> Edit:
    schema, spec = base.lookup.snapshot.schema, base.spec
    deleted = base.tables.scan(spec).filter(pl.sql_expr(predicate)).select(spec.place).collect()
    current = base.lookup.rows_of(deleted.select(spec.key), schema.names)
    before = current.join(deleted, on=spec.place, how="semi", nulls_equal=True)
    after = typed(instead, schema)
    return Edit(before, after, Changes(inserted=after.height, deleted=before.height))


def _fingerprint(paths: Sequence[str]) -> str:
    """Return the fingerprint of the rows of some files: their sums, and the names of files of other writers."""
    sums = {path: named_sum(path) for path in paths}
    total = add_up(value for value in sums.values() if value is not None)
    return fingerprint([f"{total:032x}", *(path for path, value in sums.items() if value is None)])
