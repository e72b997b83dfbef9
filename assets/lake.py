"""lake/*: current truth. One row a key, merged from the windows of raw/* exactly once."""

from datetime import datetime

import polars as pl
from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from assets.framework.asset import asset
from assets.framework.incremental import Tally
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS, buckets_of
from assets.transforms.source.recasting import recast
from assets.transforms.source.schema import (
    ACCOUNTS,
    POSTS,
    REASON,
    SOURCE_TABLES,
    TESTIMONIALS,
    Policy,
    SourceTable,
    lake_schema,
    newest_usable,
)
from assets.transforms.source.windows import plan_merges
from resources.delta.merge import BucketWindow, MergeRule
from resources.delta.table import LakeResource, TableSpec
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import Manifest, RawStoreResource, parse_timestamp
from resources.wiring import bucket_count

GROUP = "lake"
_MERGE_ROWS = 250_000
"""Rows that a commit merges: about 100 MB of posts. A merge holds them, and the rows that they replace."""


def _spec(table: SourceTable) -> TableSpec:
    text = ("bio", "text", "media_url", "display_name")
    return TableSpec(
        f"lake/{table.name}",
        lake_schema(table),
        (table.key,),
        text_columns=tuple(name for name in text if name in table.schema.names),
        feeds=True,
        evolves=table.policy is Policy.EVOLVE,
        moves=table.owner_columns != (table.key,),
    )


LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS = _spec(ACCOUNTS), _spec(POSTS), _spec(TESTIMONIALS)
LAKE_TABLES = {ACCOUNTS.name: LAKE_ACCOUNTS, POSTS.name: LAKE_POSTS, TESTIMONIALS.name: LAKE_TESTIMONIALS}


def application(source: str, table: str, bucket: int) -> str:
    """The Delta application id under which a bucket's windows are recorded: two buckets of one id would conflict."""
    return f"{source}/{table}/{bucket}"


def _merge_windows(table: SourceTable) -> AssetsDefinition:
    spec = LAKE_TABLES[table.name]

    @asset(
        key=["lake", table.name],
        deps=[["raw", table.name]],
        partitions_def=BUCKETS,
        backfill_policy=ALL_IN_ONE_RUN,
        group_name=GROUP,
        description=f"The current row of every {table.key}, soft-deleted ones included; windows are merged once.",
        owners=["team:data-engineering"],
        kinds={"delta", "s3"},
    )
    def merge_windows(
        context: AssetExecutionContext,
        raw_store: RawStoreResource,
        lake: LakeResource,
        quarantine: QuarantineResource,
    ) -> MaterializeResult[None]:
        tally, buckets, count = Tally(), buckets_of(context), bucket_count()
        raw_store.require_bucket_count(table.name, count)
        # In which order does not matter: the newer version of a row wins, whichever source it came from.
        for source in raw_store.sources(table.name):
            # Of all buckets: a row may come from any of them.
            recorded_as = {bucket: application(source, table.name, bucket) for bucket in range(count)}
            applied = lake.applied(spec, [recorded_as[bucket] for bucket in buckets])
            done = {bucket: applied.get(recorded_as[bucket], 0) for bucket in buckets}
            for manifest in raw_store.manifests(source, table.name, after=min(done.values())):
                due = [bucket for bucket in buckets if done[bucket] < manifest.number]
                rule, window = _rule(raw_store, manifest), BucketWindow(manifest.number, recorded_as)
                for step in plan_merges(manifest.files, due, _MERGE_ROWS):
                    rows = raw_store.read(step.files)
                    newest, rejects = newest_usable(table, rows)
                    newest, misfits = _fitted(lake, spec, newest)
                    for aside in (rejects, misfits):
                        tally.counts["quarantined"] += quarantine.land(
                            f"raw-{source}", table.name, table.key, aside, REASON
                        )
                    applications = dict.fromkeys(window.of(step.completes), manifest.number)
                    within = sorted({*step.buckets, *step.completes})
                    tally.changes += lake.merge_newer(spec, newest, within, applications, rule, window)
                    context.log.info("%s: window %s, %s rows merged", spec.name, manifest.number, f"{rows.height:,}")
                tally.counts["windows"] += 1
        for bucket, contents in lake.contents(spec).items():
            if bucket in done:
                tally.rows += contents.rows
                tally.size_bytes += contents.size_bytes
        tally.skipped = tally.rows - tally.changes.inserted - tally.changes.updated - tally.changes.unchanged
        return tally.result()

    return merge_windows


def _fitted(lake: LakeResource, spec: TableSpec, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows whose undeclared columns have the types that the lake gave them, and those that lose a value by it.

    Nobody declared the type of a column that came along, so a source may change it: the value is set aside with its row
    and a REASON, and the row stands without it.
    """
    snapshot = lake.snapshot(spec) if set(rows.columns) - set(spec.schema.names) else None
    held = {} if snapshot is None else {field.name: field.type for field in snapshot.schema}
    lost = pl.Series(REASON, [None] * rows.height, pl.String)
    fitted = rows
    for name in (name for name in rows.columns if name in held and name not in spec.schema.names):
        cast = recast(rows[name], held[name])
        fails = rows[name].is_not_null() & cast.is_null()
        said = pl.lit(f"{name} is no {held[name]}, as which it came along first; the row stands without it")
        lost = pl.select(pl.coalesce(lost, pl.when(fails).then(said))).to_series().alias(REASON)
        fitted = fitted.with_columns(cast.alias(name))
    return fitted, rows.with_columns(lost).filter(lost.is_not_null())


def _rule(raw_store: RawStoreResource, window: Manifest) -> MergeRule:
    """How the rows of a window win: what another source has seen later is not overruled by an equal ``updated_at``."""
    others = [name for name in raw_store.sources(window.table) if name != window.source]
    newest = [found.upper for found in (raw_store.newest(name, window.table) for name in others) if found]
    is_latest = all(datetime.fromisoformat(window.upper) >= datetime.fromisoformat(upper) for upper in newest)
    return MergeRule(is_latest=is_latest, judged_below=parse_timestamp(window.judged_below or None))


ASSETS = [_merge_windows(table) for table in SOURCE_TABLES.values()]
