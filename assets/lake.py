"""lake/*: current truth. One row a key, merged from the windows of raw/* exactly once.

Belongs here: the merge. Not here: what the rows mean, or those that cannot be used (quarantine.py).
"""

import polars as pl
from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from assets.asset import asset
from assets.incremental import Tally
from assets.key_reconciliation import take_out_overruled
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS, buckets_of
from assets.transforms.source_schema import (
    ACCOUNTS,
    POSTS,
    SOURCE_TABLES,
    TESTIMONIALS,
    SourceTable,
    lake_schema,
    newest_usable,
)
from assets.transforms.windows import MergeStep, plan_merges
from resources.environments import bucket_count
from resources.lake import BUCKET, Changes, LakeResource, TableSpec
from resources.quarantine import QuarantineResource
from resources.raw_store import Manifest, RawStoreResource
from resources.window_writer import WindowFile

GROUP = "lake"
_MERGE_ROWS = 250_000
"""Rows a merge holds in memory: about 400 MB of posts, several times that inside the engine's join."""


def _spec(table: SourceTable) -> TableSpec:
    text = ("bio", "text", "media_url", "display_name")
    return TableSpec(
        f"lake/{table.name}",
        lake_schema(table),
        (table.key,),
        text_columns=tuple(name for name in text if name in table.schema.names),
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
        tally, buckets = Tally(), buckets_of(context)
        raw_store.require_bucket_count(table.name, bucket_count())
        # In which order does not matter: the newer version of a row wins, whichever source it came from.
        for source in raw_store.sources(table.name):
            names = {bucket: application(source, table.name, bucket) for bucket in buckets}
            applied = lake.applied(spec, names.values())
            done = {bucket: applied.get(name, 0) for bucket, name in names.items()}
            for manifest in raw_store.manifests(source, table.name, after=min(done.values())):
                due = [bucket for bucket in buckets if done[bucket] < manifest.number]
                for step in plan_merges(manifest.files, due, _MERGE_ROWS):
                    rows = raw_store.read(step.files)
                    newest, rejects = newest_usable(table, rows)
                    tally.counts["quarantined"] += quarantine.land(f"raw-{source}", table.name, table.key, rejects)
                    tally.changes += _apply(lake, spec, table, newest, step, manifest)
                    context.log.info("%s: window %s, %s rows merged", spec.name, manifest.number, f"{rows.height:,}")
                tally.counts["windows"] += 1
        for bucket, contents in lake.contents(spec).items():
            if bucket in done:
                tally.rows += contents.rows
                tally.size_bytes += contents.size_bytes
        tally.skipped = tally.rows - tally.changes.inserted - tally.changes.updated - tally.changes.unchanged
        return tally.result()

    return merge_windows


def _apply(
    lake: LakeResource,
    spec: TableSpec,
    table: SourceTable,
    newest: pl.DataFrame,
    step: MergeStep[WindowFile],
    manifest: Manifest,
) -> Changes:
    """Take moved rows out of their old bucket, then merge; a crash in between is repaired by merging again."""
    take_out_overruled(lake, spec, table.key, newest, manifest)
    elsewhere = _standing_elsewhere(lake, spec, table, newest)
    is_newer = pl.col("updated_at") > pl.col("updated_at_before")
    moved, superseded = elsewhere.filter(is_newer), elsewhere.filter(~is_newer)
    for bucket, keys in moved.group_by(f"{BUCKET}_before"):
        quoted = ", ".join("'" + key.replace("'", "''") + "'" for key in keys[table.key])
        lake.delete_where(spec, f"{BUCKET} = {bucket[0]} AND {table.key} IN ({quoted})")
    # A row that moved on again in a later window, which its new bucket has already merged, must not come back here.
    current = newest.join(superseded, on=table.key, how="anti")
    applications = {application(manifest.source, table.name, bucket): manifest.number for bucket in step.completes}
    changes = lake.merge_newer(spec, current, sorted({*step.buckets, *step.completes}), applications)
    return changes + Changes(deleted=moved.height, unchanged=superseded.height)


def _standing_elsewhere(lake: LakeResource, spec: TableSpec, table: SourceTable, newest: pl.DataFrame) -> pl.DataFrame:
    """Keys that stand in another bucket, because their owner changed, with both versions' bucket and updated_at.

    Reads two narrow columns of the whole table, pruned by the keys' statistics: nothing else knows the old bucket.
    """
    columns = [table.key, BUCKET, "updated_at"]
    standing = lake.scan(spec).select(columns).filter(pl.col(table.key).is_in(newest[table.key].implode()))
    if table.owner_columns == (table.key,) or newest.is_empty():
        standing = standing.clear()
    joined = newest.select(columns).join(standing.collect(), on=table.key, suffix="_before")
    return joined.filter(pl.col(BUCKET) != pl.col(f"{BUCKET}_before"))


ASSETS = [_merge_windows(table) for table in SOURCE_TABLES.values()]
