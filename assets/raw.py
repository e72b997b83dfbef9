"""raw/*: rows as extracted, in immutable Parquet, window by window.

Belongs here: cutting contiguous windows and landing them. Not here: which version of a row is current (lake.py).
"""

from collections.abc import Iterator

import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from assets.asset import asset
from assets.incremental import Tally
from assets.transforms.erasure import without_erased
from assets.transforms.source_schema import SOURCE_TABLES, SourceTable, with_bucket
from resources.environments import bucket_count
from resources.erasures import ErasureResource, Tombstones
from resources.raw_store import Manifest, RawStoreResource, moment
from resources.rds import PostgresResource, ReadWindow

GROUP = "raw"
SOURCE = "postgres"
_LOG_EVERY_ROWS = 500_000


def _extract(table: SourceTable) -> AssetsDefinition:
    @asset(
        key=["raw", table.name],
        deps=[["rds", table.name]],
        group_name=GROUP,
        description=f"Windows of public.{table.name} along updated_at: contiguous, each complete with its manifest.",
        owners=["team:data-engineering"],
        kinds={"postgres", "parquet", "s3"},
    )
    def extract(
        context: AssetExecutionContext,
        postgres: PostgresResource,
        raw_store: RawStoreResource,
        erasures: ErasureResource,
    ) -> MaterializeResult[None]:
        tally, erased = Tally(), erasures.tombstones()
        raw_store.require_bucket_count(SOURCE, table.name, bucket_count())
        newest = raw_store.newest(SOURCE, table.name)
        upper = postgres.safe_high_water_mark()
        window = ReadWindow(
            table.name, tuple(table.schema.names), "updated_at", moment(newest.upper) if newest else None, upper
        )
        number = newest.number + 1 if newest else 1
        writer = raw_store.writer(SOURCE, table.name, number)
        with postgres.read(window) as batches:
            for rows in _bucketed(table, batches, erased, tally):
                writer.add(rows)
                tally.rows += rows.num_rows
                if tally.rows // _LOG_EVERY_ROWS != (tally.rows - rows.num_rows) // _LOG_EVERY_ROWS:
                    context.log.info("%s rows extracted", f"{tally.rows:,}")
        files = writer.finish()
        # A window without rows is not written: the next one starts where the newest ended, so none is skipped.
        if files:
            lower = newest.upper if newest else None
            raw_store.complete(Manifest(SOURCE, table.name, number, lower, upper.isoformat(), bucket_count(), files))
        tally.size_bytes = sum(file.size_bytes for file in files)
        tally.counts.update(windows=int(bool(files)), files=len(files))
        tally.counts["ahead_of_clock"] = postgres.count(table.name, since=upper)
        return tally.result()

    return extract


def _bucketed(
    table: SourceTable, batches: pa.RecordBatchReader, erased: Tombstones, tally: Tally
) -> Iterator[pa.Table]:
    """The rows of accounts that were not erased, with their buckets; the others are counted."""
    for batch in batches:
        rows = pa.Table.from_batches([batch]).cast(table.schema)
        kept = without_erased(rows, ("account_id",), erased)
        tally.counts["erased"] += rows.num_rows - kept.num_rows
        yield with_bucket(table, kept, bucket_count())


ASSETS = [_extract(table) for table in SOURCE_TABLES.values()]
