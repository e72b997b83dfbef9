"""Checks of raw/*: windows, contract, agreement of sources."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
from dagster import AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, AssetKey, ResourceParam, asset_check

from assets.lake import LAKE_TABLES
from assets.raw.extraction import UPDATED_AT
from assets.raw.unread import UnreadRows
from assets.raw.windows import keeping
from assets.transforms.source.agreement import DOUBLED, VERSIONS, covered, disagreements, moved_elsewhere
from assets.transforms.source.contract import compare
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from pipelines.checks import verdict
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import EXPORT, KEYS, Manifest, RawStoreResource
from resources.raw.writer import WindowFile
from resources.s3.client import S3Resource
from resources.settings import bucket_count, clock_skew_seconds, old_transaction_seconds
from resources.sources.protocol import LiveSource, Source


def _windows(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["raw", table.name]), name="windows_complete")
    def windows_complete(raw_store: RawStoreResource, s3: S3Resource) -> AssetCheckResult:
        """The windows of a source have no gaps, and every file of their manifests is complete."""
        windows = [list(raw_store.manifests(source, table.name)) for source in raw_store.sources(table.name)]
        manifests = [window for of_source in windows for window in of_source]
        pairs = [pair for of_source in windows for pair in pairwise(of_source)]
        gaps = sum(not _follows(before, after) for before, after in pairs)
        sizes = {item.key: item.size_bytes for item in s3.list_objects(f"raw/{table.name}/")}
        lost = sum(sizes.get(file.key) != file.size_bytes for manifest in manifests for file in manifest.files)
        return verdict("gaps between windows, or files lost or damaged", found=gaps + lost)

    return windows_complete


def _follows(before: Manifest, after: Manifest) -> bool:
    """Return whether a window starts where the previous one ends. An export is complete, so it has no start."""
    return before.number + 1 == after.number and (after.kind == EXPORT or before.upper == after.lower)


_EXAMPLES = 5


_Windows = Mapping[str, Sequence[Manifest]]


def _contract(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["raw", table.name]), name="contract_holds")
    def contract_holds(raw_store: RawStoreResource, source: ResourceParam[Source]) -> AssetCheckResult:
        """The source has the declared columns, now and when it was last read."""
        columns = {source.name: source.columns(table.name)}
        for name in raw_store.sources(table.name):
            newest = raw_store.newest(name, table.name)
            if newest is not None and name != source.name:
                columns[name] = newest.source_columns
        found = {name: compare(table, held) for name, held in columns.items()}
        differing = {name: difference for name, difference in found.items() if not difference.is_empty}
        is_refused = any(difference.is_refused for difference in differing.values())
        return AssetCheckResult(
            passed=not differing,
            severity=AssetCheckSeverity.ERROR if is_refused else AssetCheckSeverity.WARN,
            description=" ".join(f"{name}: {found[name].describe()}" for name in (differing or found)),
            metadata={
                "policy": str(table.policy),
                **{
                    f"{name}_{kind}": ", ".join(sorted(changes)) or "none"
                    for name, difference in found.items()
                    for kind, changes in (
                        ("added", difference.added),
                        ("dropped", difference.dropped),
                        ("retyped", difference.retyped),
                    )
                },
            },
        )

    return contract_holds


def _agreement(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["raw", table.name]), name="sources_agree")
    def sources_agree(raw_store: RawStoreResource) -> AssetCheckResult:
        """Two sources whose windows cover the same interval have the same rows, each once.

        Reads every extracted row, one bucket at a time.
        """
        windows = {name: list(raw_store.manifests(name, table.name)) for name in raw_store.sources(table.name)}
        windows = {name: held for name, held in windows.items() if held}
        intervals = {name: covered([(window.lower, window.upper) for window in held]) for name, held in windows.items()}
        found, rows = [], 0
        for bucket in sorted({file.bucket for held in windows.values() for window in held for file in window.files}):
            versions = _versions(raw_store, table, windows, bucket)
            rows += versions.height
            judged = disagreements(versions, intervals)
            found.append(moved_elsewhere(judged, _elsewhere(raw_store, table, windows, bucket, judged["key"])))
        problems = pl.concat(found) if found else disagreements(pl.DataFrame(schema=VERSIONS), {})
        counts = {str(name): int(count) for name, count in problems["problem"].value_counts().iter_rows()}
        metadata: dict[str, int | float | str] = {"sources": ", ".join(windows), "rows": rows, **counts}
        if problems.height:
            metadata["examples"] = "; ".join(_said(row) for row in problems.head(_EXAMPLES).to_dicts())
        return verdict("rows on which sources disagree", found=problems.height, metadata=metadata)

    return sources_agree


def _versions(raw_store: RawStoreResource, table: SourceTable, windows: _Windows, bucket: int) -> pl.DataFrame:
    """Return the versions of all windows in a bucket, with a hash of the columns that every source has."""
    known = [set(held[-1].source_columns or table.schema.names) for held in windows.values()]
    shared = [name for name in table.schema.names if all(name in columns for columns in known)]
    frames = [pl.DataFrame(schema=VERSIONS)]
    for window, files in _files(windows, lambda held: held == bucket):
        rows = raw_store.read(files, [*dict.fromkeys([*shared, table.key, UPDATED_AT, "deleted_at"])])
        frames.append(
            rows.filter(pl.col(table.key).is_not_null()).select(
                pl.lit(window.source).alias("source"),
                pl.lit(window.number, pl.Int64).alias("window"),
                pl.col(table.key).alias("key"),
                pl.col(UPDATED_AT).alias("updated_at"),
                ((pl.lit(window.kind) == KEYS) & pl.col("deleted_at").is_not_null()).alias("is_deletion"),
                pl.struct(shared).hash().alias("content"),
            )
        )
    return pl.concat(frames)


def _elsewhere(
    raw_store: RawStoreResource, table: SourceTable, windows: _Windows, bucket: int, keys: pl.Series
) -> pl.DataFrame:
    """Return (source, key, updated_at) of the keys in other buckets: rows move when their account changes."""
    frames = [pl.DataFrame(schema={name: VERSIONS[name] for name in ("source", "key", "updated_at")})]
    if not keys.is_empty():
        for window, files in _files(windows, lambda held: held != bucket):
            rows = raw_store.read(files, [table.key, UPDATED_AT]).filter(pl.col(table.key).is_in(keys.implode()))
            frames.append(rows.select(pl.lit(window.source).alias("source"), key=table.key, updated_at=UPDATED_AT))
    return pl.concat(frames)


def _files(windows: _Windows, wanted: Callable[[int], bool]) -> Iterator[tuple[Manifest, list[WindowFile]]]:
    """Yield each window with its files in the wanted buckets, if it has any."""
    for held in windows.values():
        for window in held:
            files = [file for file in window.files if wanted(file.bucket)]
            if files:
                yield window, files


def _said(row: Mapping[str, object]) -> str:
    pair = row["source"] if row["problem"] == DOUBLED else f"{row['source']} and {row['other']}"
    return f"{row['key']} of {row['updated_at']} {row['problem']}: {pair}"


def _all_rows_read(table: SourceTable) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["raw", table.name]), name="all_rows_read")
    def all_rows_read(
        source: ResourceParam[Source],
        raw_store: RawStoreResource,
        lake: LakeResource,
        quarantine: QuarantineResource,
        erasures: ErasureResource,
    ) -> AssetCheckResult:
        """Windows along updated_at read every row of the source: none lacks it, and none was written with an old one.

        Reads the source's index on updated_at once, and the keys of the days that have more rows than the lake.
        """
        if not isinstance(source, LiveSource):
            return _advice(True, f"Rows of {source.name} are not counted.")
        skew, keep = timedelta(seconds=clock_skew_seconds()), keeping(erasures.tombstones(), Counter())
        spec, count = LAKE_TABLES[table.name], bucket_count()
        found = UnreadRows(source, raw_store, lake, quarantine, table, spec, count, skew, keep).count()
        return _advice(
            not found.undated and not found.backfilled,
            f"{found.undated:,} rows of {table.name} have no updated_at and {found.backfilled:,} or more have an old "
            "one and did not land: no window reads them. Set updated_at to now() in the source; the job "
            "raw_key_reconciliation lands those of the second kind."
            if found.undated or found.backfilled
            else "Windows read every row.",
            {"undated": found.undated, "backfilled": found.backfilled},
        )

    return all_rows_read


@asset_check(asset=AssetKey(["raw", next(iter(SOURCE_TABLES))]), name="mark_is_recent")
def mark_is_recent(source: ResourceParam[Source]) -> AssetCheckResult:
    """No transaction of the source database is open for so long that rows wait for it; one for all tables."""
    oldest = source.oldest_transaction() if isinstance(source, LiveSource) else None
    limit = old_transaction_seconds()
    if oldest is None or (datetime.now(UTC) - oldest.since).total_seconds() <= limit:
        return _advice(True, f"No transaction is open for more than {limit:,.0f} seconds.")
    return _advice(
        False,
        f"Rows wait for an open transaction: {oldest.describe()}. End it in its application, or run {oldest.remedy}.",
        {"transaction": oldest.describe()},
    )


def _advice(
    passed: bool,
    description: str,
    metadata: dict[str, int | float | str] | None = None,
) -> AssetCheckResult:
    """Return a result of severity WARN: the lake is right as far as it goes, and somebody should look."""
    return AssetCheckResult(
        passed=passed, severity=AssetCheckSeverity.WARN, description=description, metadata=metadata or {}
    )


CHECKS = [make(table) for table in SOURCE_TABLES.values() for make in (_windows, _contract, _agreement, _all_rows_read)]
CHECKS.append(mark_is_recent)
