"""lake/*: the current row of every key, merged from the windows of raw/* exactly once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import takewhile

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition

from assets.framework.asset import asset
from assets.framework.columns import with_bucket
from assets.framework.incremental import RunMetrics
from assets.partitions import buckets_of
from assets.transforms.source.recasting import recast
from assets.transforms.source.schema import (
    ACCOUNTS,
    POSTS,
    REASON,
    SOURCE_TABLES,
    TESTIMONIALS,
    Policy,
    SourceTable,
    newest_usable,
)
from assets.transforms.source.windows import plan_merges
from resources.delta.merge import BucketWindow, MergeRule
from resources.delta.table import ABSENT, LakeResource, TableSpec
from resources.errors import PermanentFailure, is_of_data
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import Manifest, RawStoreResource, parse_timestamp
from resources.settings import bucket_count

_MERGE_ROWS = 250_000
"""Rows in one commit: about 100 MB of posts. A merge holds them and the rows that they replace in memory."""


def _spec(table: SourceTable) -> TableSpec:
    filtered = ("network", "country", "language", "brand")
    text = ("bio", "text", "media_url", "display_name")
    return TableSpec.of(
        f"lake/{table.name}",
        with_bucket(table, "lake", "raw"),
        (table.key,),
        filtered=tuple(name for name in filtered if name in table.schema.names),
        text_columns=tuple(name for name in text if name in table.schema.names),
        feeds=True,
        evolves=table.policy is Policy.EVOLVE,
        moves=table.owner_columns != (table.key,),
    )


LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS = _spec(ACCOUNTS), _spec(POSTS), _spec(TESTIMONIALS)
LAKE_TABLES = {ACCOUNTS.name: LAKE_ACCOUNTS, POSTS.name: LAKE_POSTS, TESTIMONIALS.name: LAKE_TESTIMONIALS}


class UnmergeableWindowError(PermanentFailure):
    """The rows or the columns of a landed window cannot enter the table; a retry cannot help."""

    def __init__(self, window: Manifest, cause: str) -> None:
        super().__init__(
            f"Window {window.number} of {window.source}/{window.table} cannot be merged: {cause.rstrip('.')}; go on "
            f"without its rows by `cippus lake set-aside {window.table} {window.number} --source {window.source} "
            "--reason …`, which moves them to quarantine."
        )


def application(source: str, table: str, bucket: int) -> str:
    """Return the Delta application id that records a bucket's windows. Each bucket has its own, to avoid conflicts."""
    return f"{source}/{table}/{bucket}"


def _merge_windows(table: SourceTable) -> AssetsDefinition:
    spec = LAKE_TABLES[table.name]

    @asset(
        table=spec,
        deps=[["raw", table.name]],
        pool=spec.name,  # an extraction merges all buckets
        description=f"One row per {table.key}, with its newest values; rows deleted at the source stay, marked by "
        f"deleted_at. Merged from raw/{table.name}, each window exactly once.",
        owners=["team:data-engineering"],
        kinds={"delta", "s3"},
    )
    def merge_windows(
        context: AssetExecutionContext,
        raw_store: RawStoreResource,
        lake: LakeResource,
        quarantine: QuarantineResource,
    ) -> RunMetrics:
        metrics, buckets, count = RunMetrics(), buckets_of(context), bucket_count()
        before = lake.contents(spec, buckets)
        raw_store.require_bucket_count(table.name, count)
        # The order of the sources does not matter: the newer version of a row wins.
        for source in raw_store.sources(table.name):
            # For all buckets, because a row may move from any bucket.
            recorded_as = {bucket: application(source, table.name, bucket) for bucket in range(count)}
            applied = lake.applied(spec, [recorded_as[bucket] for bucket in buckets])
            done = {bucket: applied.get(recorded_as[bucket], 0) for bucket in buckets}
            for manifest in raw_store.manifests(source, table.name, after=min(done.values())):
                due = [bucket for bucket in buckets if done[bucket] < manifest.number]
                rule = _rule(raw_store, manifest)
                window = BucketWindow(manifest.number, recorded_as, partial(_later_rows, raw_store, table, manifest))
                for step in plan_merges(manifest.files, due, _MERGE_ROWS):
                    with _naming(context, manifest):
                        newest, rejects = newest_usable(table, raw_store.read(step.files))
                        newest, misfits = _fitted(lake, spec, newest)
                        for aside in (rejects, misfits):
                            landed = quarantine.land(f"raw-{source}", table.name, table.key, aside, REASON)
                            metrics.counts["quarantined"] += landed
                        applications = dict.fromkeys(window.of(step.completes), manifest.number)
                        within = sorted({*step.buckets, *step.completes})
                        metrics.changes += lake.merge_newer(spec, newest, within, applications, rule, window)
                    context.log.info("%s: window %s, %s rows merged", spec.name, manifest.number, f"{newest.height:,}")
                metrics.counts["windows"] += 1
        whole = lake.contents(spec)
        metrics.table_rows = sum(found.rows for found in whole.values())
        for bucket, found in ((bucket, whole[bucket]) for bucket in buckets if bucket in whole):
            of_bucket = metrics.buckets[bucket] = RunMetrics(counts_changes=False)
            of_bucket.hold(found)
            of_bucket.counts["rows_added"] = found.rows - before.get(bucket, ABSENT).rows
            metrics.rows, metrics.size_bytes = metrics.rows + found.rows, metrics.size_bytes + found.size_bytes
        changes = metrics.changes
        metrics.skipped = metrics.rows - changes.inserted - changes.updated - changes.unchanged
        return metrics

    return merge_windows


@contextmanager
def _naming(context: AssetExecutionContext, window: Manifest) -> Iterator[None]:
    """Raise UnmergeableWindowError where the rows of a window, or its columns, cannot enter the table."""
    try:
        yield
    except (Exception, pl.exceptions.PanicException) as error:  # delta-rs raises bare Exceptions
        if not is_of_data(error):
            raise
        context.log.error("Window %s of %s cannot be merged.", window.number, window.source, exc_info=error)
        raise UnmergeableWindowError(window, str(error).splitlines()[0]) from None


def _fitted(lake: LakeResource, spec: TableSpec, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return rows with their undeclared columns cast to the lake's types, and the rows that lose a value by it.

    The first window with an undeclared column sets its type, and a source may change it later. A value that does not
    fit is stored as null, and its row goes to quarantine with a REASON.
    """
    snapshot = lake.snapshot(spec) if set(rows.columns) - set(spec.schema.names) else None
    fitted = in_stored_types(spec, rows, None if snapshot is None else snapshot.schema)
    reasons = [
        pl.when(pl.lit(rows[name].is_not_null() & fitted[name].is_null())).then(
            pl.lit(f"Value of {name} does not fit its column type in the lake, {fitted[name].dtype}; stored as null.")
        )
        for name in rows.columns
        if name not in spec.schema.names
    ]
    reason = pl.coalesce(*reasons, pl.lit(None, pl.String)).alias(REASON)
    return fitted, rows.with_columns(reason).filter(pl.col(REASON).is_not_null())


def in_stored_types(spec: TableSpec, rows: pl.DataFrame, stored: pa.Schema | None) -> pl.DataFrame:
    """Return rows with their undeclared columns cast to the types of the stored table; what does not fit is null."""
    types = {} if stored is None else {field.name: field.type for field in stored}
    undeclared = [name for name in rows.columns if name in types.keys() - set(spec.schema.names)]
    return rows.with_columns(recast(rows[name], types[name]).alias(name) for name in undeclared)


def _rule(raw_store: RawStoreResource, window: Manifest) -> MergeRule:
    """Return the merge rule of a window. It wins ties of ``updated_at`` only if no other source has read later."""
    others = [name for name in raw_store.sources(window.table) if name != window.source]
    newest = [found.upper for found in (raw_store.newest(name, window.table) for name in others) if found]
    is_latest = all(datetime.fromisoformat(window.upper) >= datetime.fromisoformat(upper) for upper in newest)
    return MergeRule(is_latest=is_latest, judged_below=parse_timestamp(window.judged_below or None))


def _later_rows(
    raw_store: RawStoreResource, table: SourceTable, window: Manifest, bucket: int, last: int, rows: pl.DataFrame
) -> pl.DataFrame:
    """Return which of these keys, with their ``updated_at``, later windows up to ``last`` have in a bucket.

    Memory: one file. The lake asks only for keys that moved between buckets without a later ``updated_at``, while the
    buckets were merged up to different windows; the files of those windows are read then.
    """
    found = [rows.select(table.key, "updated_at").clear()]
    windows = raw_store.manifests(window.source, window.table, after=window.number)
    for later in takewhile(lambda one: one.number <= last, windows):
        for file in (file for file in later.files if file.bucket == bucket):
            held = raw_store.rows_of(file, table.key, rows)
            if held is not None:
                usable, _ = newest_usable(table, held)
                found.append(usable.select(table.key, "updated_at"))
    return pl.concat(found)


ASSETS = [_merge_windows(table) for table in SOURCE_TABLES.values()]
