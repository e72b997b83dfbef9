"""raw/*: extracted rows in immutable Parquet, window by window."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition, Config, ResourceParam

from assets.framework.asset import asset
from assets.framework.columns import with_bucket
from assets.framework.description import column_metadata, personal_tags, uri
from assets.framework.incremental import RunMetrics
from assets.lake import LAKE_TABLES
from assets.raw.extraction import UPDATED_AT, Extracted, Extraction
from assets.raw.key_reconciliation import KeyReconciliation, lake_columns
from assets.raw.reading import Keep
from assets.transforms.erasure import ErasedAccounts, without_erased
from assets.transforms.source.key_comparison import VanishedLimit
from assets.transforms.source.schema import REASON, SOURCE_TABLES, SourceTable
from resources.delta.table import LakeResource, TableSpec
from resources.erasure.tombstones import ErasureResource
from resources.errors import PermanentFailure, TransientFailure
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import EXPORT, Manifest, RawStoreResource
from resources.settings import bucket_count, clock_skew_seconds
from resources.sources.protocol import LiveSource, Source
from resources.sources.rds_export import RdsExportResource

_LOG_EVERY_ROWS = 500_000
_HELD_BACK_SECONDS = 60
"""Lag of the high-water mark from which the transaction that holds it back is named in the metadata."""


class RawConfig(Config):
    """Land the changes of the configured source, or the snapshot export ``export_id`` if it is set.

    The other fields limit the keys that may be missing in an export. ``allow_vanished`` lifts the limit for one run.
    """

    export_id: str = ""
    allow_vanished: bool = False
    max_vanished_share: float = VanishedLimit.share
    max_vanished_keys: int = VanishedLimit.keys

    def limit(self) -> VanishedLimit | None:
        """Return the limit on missing keys, None if it is lifted. Raise ValueError: Dagster checks types only."""
        limit = VanishedLimit(self.max_vanished_share, self.max_vanished_keys)
        return None if self.allow_vanished else limit


def _extract(table: SourceTable) -> AssetsDefinition:
    files = TableSpec.of(f"raw/{table.name}", with_bucket(table, "raw", "rds"), (table.key,))

    @asset(
        key=["raw", table.name],
        deps=[["rds", table.name]],
        description=f"Rows of public.{table.name} as extracted, in windows along updated_at. "
        f"One row per version of a {table.key}.",
        owners=["team:data-engineering"],
        kinds={"parquet", "s3"},
        metadata={**column_metadata(files), "dagster/uri": uri(files), "dagster/storage_kind": "parquet"},
        tags=personal_tags(files),
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
    ) -> RunMetrics:
        tally, limit = RunMetrics(), config.limit()
        chosen = rds_exports.open(config.export_id, [table.name]) if config.export_id else source

        def on_rejects(rejects: pl.DataFrame) -> None:
            tally.counts["quarantined"] += quarantine.land(
                f"cast-{chosen.name}", table.name, table.key, rejects, REASON
            )

        spec = LAKE_TABLES[table.name]
        skew, count = timedelta(seconds=clock_skew_seconds()), bucket_count()
        on_rows, keep = _progress(context, tally), keeping(erasures.tombstones(), tally.counts)
        extraction = Extraction(
            *(chosen, raw_store, table, count, on_rejects, skew, on_rows),
            keep=keep,
            lake_columns=lambda: lake_columns(lake, spec),
        )
        found = extraction.snapshot(config.export_id) if config.export_id else extraction.changes()
        _report(tally, found)
        if found.superseded_by:
            tally.counts["superseded"] = 1
            superseded = "%s of export %s was not landed: the later export %s was landed before."
            context.log.warning(superseded, table.name, config.export_id, found.superseded_by)
        if isinstance(chosen, LiveSource):
            _count_ahead(context, tally, chosen, table, found)
            tally.notes = _held_back(context, chosen, found)
        if config.export_id and _is_unjudged(raw_store.newest(chosen.name, table.name), config.export_id):
            judged = KeyReconciliation(
                *(chosen, raw_store, lake, quarantine, table, spec, count, skew, keep),
                limit=limit,
            ).run_guarded()
            tally.counts["vanished"] += judged.vanished
        tally.fingerprint = _version(raw_store, table)
        return tally

    return extract


def _version(raw_store: RawStoreResource, table: SourceTable) -> str:
    """Return the data version of a table's windows: the number of the last window of each source."""
    numbers = {source: raw_store.numbers(source, table.name) for source in raw_store.sources(table.name)}
    return " ".join(f"{source}/{of_source[-1]}" for source, of_source in sorted(numbers.items()) if of_source)


def keeping(erased: ErasedAccounts, counts: Counter[str]) -> Keep:
    """Return a filter that drops rows of erased accounts and counts them."""

    def keep(rows: pa.Table) -> pa.Table:
        kept = without_erased(rows, ("account_id",), erased)
        counts["erased"] += rows.num_rows - kept.num_rows
        return kept

    return keep


def _is_unjudged(newest: Manifest | None, export_id: str) -> bool:
    """Return whether an export was landed and its keys were not compared with the lake's yet.

    An empty table is not compared: the age of a snapshot comes from its rows, so a wrong export would delete all rows.
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
    """Count the rows ahead of the mark, for later windows. Leave the count out if the source fails.

    The window has landed, so a failure here must not fail the run.
    """
    try:
        tally.counts["ahead_of_clock"] = source.count_ahead(table.name, UPDATED_AT, found.mark)
    except (PermanentFailure, TransientFailure) as failure:
        context.log.warning("Rows of %s ahead of the mark were not counted: %s", table.name, failure)


def _held_back(context: AssetExecutionContext, source: LiveSource, found: Extracted) -> dict[str, str | int]:
    """Return, as metadata, how far the mark is behind and which transaction holds it back. Log the transaction."""
    seconds = int((datetime.now(UTC) - found.mark).total_seconds())
    if seconds < _HELD_BACK_SECONDS:
        return {}
    try:
        oldest = source.oldest_transaction()
    except (PermanentFailure, TransientFailure) as failure:
        context.log.warning("The transaction that holds the mark back was not found: %s", failure)
        return {"held_back_seconds": seconds}
    if oldest is None:  # it ended meanwhile, or the source is a replica
        return {"held_back_seconds": seconds}
    message = "Rows of the last %s seconds wait for an open transaction: %s"
    context.log.warning(message, f"{seconds:,}", oldest.describe())
    return {"held_back_seconds": seconds, "held_back_by": oldest.describe()}


ASSETS = [_extract(table) for table in SOURCE_TABLES.values()]
