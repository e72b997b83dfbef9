"""lake/*: current truth. One row a key, merged from the windows of raw/* exactly once.

Belongs here: the merge. Not here: what the rows mean, or those that cannot be used (quarantine.py).
"""

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
from assets.transforms.windows import plan_merges
from resources.environments import bucket_count
from resources.lake import LakeResource, TableSpec
from resources.quarantine import QuarantineResource
from resources.raw_store import RawStoreResource

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
        tally, buckets = Tally(), buckets_of(context)
        raw_store.require_bucket_count(table.name, bucket_count())
        # In which order does not matter: the newer version of a row wins, whichever source it came from.
        for source in raw_store.sources(table.name):
            reached = _windows_merged(lake, spec, source, table)
            done = {bucket: reached[bucket] for bucket in buckets}
            for manifest in raw_store.manifests(source, table.name, after=min(done.values())):
                due = [bucket for bucket in buckets if done[bucket] < manifest.number]
                for step in plan_merges(manifest.files, due, _MERGE_ROWS):
                    rows = raw_store.read(step.files)
                    newest, rejects = newest_usable(table, rows)
                    tally.counts["quarantined"] += quarantine.land(f"raw-{source}", table.name, table.key, rejects)
                    applications = {application(source, table.name, b): manifest.number for b in step.completes}
                    ahead = [bucket for bucket, number in reached.items() if number > manifest.number]
                    within = sorted({*step.buckets, *step.completes})
                    take_out_overruled(lake, spec, table.key, newest, manifest)
                    tally.changes += lake.merge_newer(spec, newest, within, applications, ahead)
                    context.log.info("%s: window %s, %s rows merged", spec.name, manifest.number, f"{rows.height:,}")
                tally.counts["windows"] += 1
        for bucket, contents in lake.contents(spec).items():
            if bucket in done:
                tally.rows += contents.rows
                tally.size_bytes += contents.size_bytes
        tally.skipped = tally.rows - tally.changes.inserted - tally.changes.updated - tally.changes.unchanged
        return tally.result()

    return merge_windows


def _windows_merged(lake: LakeResource, spec: TableSpec, source: str, table: SourceTable) -> dict[int, int]:
    """Bucket → the last window of a source that was merged into it, of all buckets: a row may come from any of them."""
    of_buckets = {bucket: application(source, table.name, bucket) for bucket in range(bucket_count())}
    applied = lake.applied(spec, of_buckets.values())
    return {bucket: applied.get(name, 0) for bucket, name in of_buckets.items()}


ASSETS = [_merge_windows(table) for table in SOURCE_TABLES.values()]
