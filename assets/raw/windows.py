"""raw/*: rows as extracted, in immutable Parquet, window by window."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition, Config, MaterializeResult, ResourceParam

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics
from assets.lake import LAKE_TABLES
from assets.raw.extraction import ALONG, Extracted, Extraction
from assets.raw.key_reconciliation import KeyReconciliation
from assets.raw.reading import Keep
from assets.transforms.erasure import ErasedAccounts, without_erased
from assets.transforms.source.schema import REASON, SOURCE_TABLES, SourceTable
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.errors import PermanentFailure, TransientFailure
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import EXPORT, Manifest, RawStoreResource
from resources.settings import bucket_count, clock_skew_seconds
from resources.sources.protocol import LiveSource, Source
from resources.sources.rds_export import RdsExportResource

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
    def extract(  # noqa: PLR0913 -- Dagster hands every resource over as an argument
        context: AssetExecutionContext,
        config: RawConfig,
        source: ResourceParam[Source],
        rds_exports: RdsExportResource,
        raw_store: RawStoreResource,
        lake: LakeResource,
        quarantine: QuarantineResource,
        erasures: ErasureResource,
    ) -> MaterializeResult[None]:
        tally = RunMetrics()
        chosen = rds_exports.open(config.export_id, [table.name]) if config.export_id else source

        def on_rejects(rejects: pl.DataFrame) -> None:
            tally.counts["quarantined"] += quarantine.land(
                f"cast-{chosen.name}", table.name, table.key, rejects, REASON
            )

        skew, count = timedelta(seconds=clock_skew_seconds()), bucket_count()
        on_rows, keep = _progress(context, tally), keeping(erasures.tombstones(), tally.counts)
        extraction = Extraction(chosen, raw_store, table, count, on_rejects, skew, on_rows, keep=keep)
        found = extraction.snapshot(config.export_id) if config.export_id else extraction.changes()
        _report(tally, found)
        if found.superseded_by:
            tally.counts["superseded"] = 1
            told = "%s of export %s: no row was landed, since the later export %s was landed before."
            context.log.warning(told, table.name, config.export_id, found.superseded_by)
        if isinstance(chosen, LiveSource):
            _count_ahead(context, tally, chosen, table, found)
        if config.export_id and _is_unjudged(raw_store.newest(chosen.name, table.name), config.export_id):
            spec = LAKE_TABLES[table.name]
            judged = KeyReconciliation(chosen, raw_store, lake, quarantine, table, spec, count, skew, keep).run()
            tally.counts["vanished"] += judged.vanished
        return tally.result()

    return extract


def keeping(erased: ErasedAccounts, counts: Counter[str]) -> Keep:
    """Leaves erased accounts out of what a source gives, and counts their rows."""

    def keep(rows: pa.Table) -> pa.Table:
        kept = without_erased(rows, ("account_id",), erased)
        counts["erased"] += rows.num_rows - kept.num_rows
        return kept

    return keep


def _is_unjudged(newest: Manifest | None, export_id: str) -> bool:
    """Whether an export was landed, and nobody has said yet which of the lake's rows it lacks.

    That a table is empty proves nothing: a snapshot's age comes from its rows, and a mistaken one would delete all.
    """
    return newest is not None and (newest.kind, newest.origin) == (EXPORT, export_id) and bool(newest.files)


def _progress(context: AssetExecutionContext, tally: RunMetrics) -> Callable[[int], None]:
    def on_rows(rows: int) -> None:
        tally.rows += rows
        if tally.rows // _LOG_EVERY_ROWS != (tally.rows - rows) // _LOG_EVERY_ROWS:
            context.log.info("%s rows extracted", f"{tally.rows:,}")

    return on_rows


def _report(tally: RunMetrics, found: Extracted) -> None:
    tally.rows = sum(file.rows for file in found.files)
    tally.size_bytes = sum(file.size_bytes for file in found.files)
    tally.counts.update(
        windows=int(found.window is not None), files=len(found.files), parts=found.parts, read_again=found.repeated
    )


def _count_ahead(
    context: AssetExecutionContext, tally: RunMetrics, source: LiveSource, table: SourceTable, found: Extracted
) -> None:
    """Say how many rows the next windows have still to come. Without an answer the count is left out.

    The window has landed by now: a failure would be one of a run that did its work, and hide what it landed.
    """
    try:
        tally.counts["ahead_of_clock"] = source.count_ahead(table.name, ALONG, found.mark)
    except (PermanentFailure, TransientFailure) as failure:
        context.log.warning("How many rows of %s lie ahead of the mark is not known: %s", table.name, failure)


ASSETS = [_extract(table) for table in SOURCE_TABLES.values()]
