"""raw/*: rows as extracted, in immutable Parquet, window by window.

Belongs here: the assets, and what they land. Not here: how a window is cut (extraction.py), which version of a row is
current (lake.py).
"""

from collections.abc import Callable
from datetime import timedelta

from dagster import AssetExecutionContext, AssetsDefinition, Config, MaterializeResult, ResourceParam

from assets.asset import asset
from assets.extraction import ALONG, Extracted, Extraction
from assets.incremental import Tally
from assets.transforms.source_schema import SOURCE_TABLES, SourceTable
from resources.environments import bucket_count, clock_skew_seconds
from resources.raw_store import RawStoreResource
from resources.source import LiveSource, Source

GROUP = "raw"
_LOG_EVERY_ROWS = 500_000


class RawConfig(Config):
    """What a run lands: the changes of the configured source, or one snapshot export."""

    export_id: str = ""


def _extract(table: SourceTable) -> AssetsDefinition:
    @asset(
        key=["raw", table.name],
        deps=[["rds", table.name]],
        group_name=GROUP,
        description=f"Windows of public.{table.name} along updated_at: contiguous, each complete with its manifest.",
        owners=["team:data-engineering"],
        kinds={"parquet", "s3"},
    )
    def extract(
        context: AssetExecutionContext, config: RawConfig, source: ResourceParam[Source], raw_store: RawStoreResource
    ) -> MaterializeResult[None]:
        tally = Tally()
        skew = timedelta(seconds=clock_skew_seconds())
        extraction = Extraction(source, raw_store, table, bucket_count(), skew, _progress(context, tally))
        found = extraction.changes()
        _report(tally, found)
        if isinstance(source, LiveSource):
            tally.counts["ahead_of_clock"] = source.count_ahead(table.name, ALONG, found.mark)
        return tally.result()

    return extract


def _progress(context: AssetExecutionContext, tally: Tally) -> Callable[[int], None]:
    def on_rows(rows: int) -> None:
        tally.rows += rows
        if tally.rows // _LOG_EVERY_ROWS != (tally.rows - rows) // _LOG_EVERY_ROWS:
            context.log.info("%s rows extracted", f"{tally.rows:,}")

    return on_rows


def _report(tally: Tally, found: Extracted) -> None:
    tally.rows = sum(file.rows for file in found.files)
    tally.size_bytes = sum(file.size_bytes for file in found.files)
    tally.counts.update(
        windows=int(found.window is not None), files=len(found.files), parts=found.parts, read_again=found.repeated
    )


ASSETS = [_extract(table) for table in SOURCE_TABLES.values()]
