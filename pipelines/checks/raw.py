"""Checks of raw/*: windows, contract, agreement of sources."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
from dagster import AssetCheckResult, AssetCheckSeverity, ResourceParam

from assets.lake import LAKE_TABLES
from assets.raw.extraction import UPDATED_AT
from assets.raw.unread import CLOCK_FIX, CLOCK_SET_BACK, UnreadRows, waits_until
from assets.raw.windows import keeping
from assets.transforms.source.agreement import DOUBLED, VERSIONS, covered, disagreements, moved_elsewhere
from assets.transforms.source.contract import compare
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from pipelines.checks.declaration import Metadata, check, check_tables
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.plain_text import as_code
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import EXPORT, KEYS, Manifest, RawStoreResource
from resources.raw.writer import WindowFile
from resources.s3.client import S3Resource
from resources.settings import bucket_count, clock_skew_seconds, old_transaction_seconds
from resources.sources.protocol import LiveSource, Source

_EXAMPLES = 5
_Windows = Mapping[str, Sequence[Manifest]]
"""Source → its complete windows, in order."""


@check_tables("raw", "gaps between windows, or files lost or damaged", daily=True)
def windows_complete(table: SourceTable, raw_store: RawStoreResource, s3: S3Resource) -> int:
    """The windows of a source have no gaps, and every file of their manifests is complete."""
    windows = _windows(raw_store, table).values()
    gaps = sum(not _follows(*pair) for of_source in windows for pair in pairwise(of_source))
    sizes = {item.key: item.size_bytes for item in s3.list_objects(f"raw/{table.name}/")}
    files = [file for of_source in windows for manifest in of_source for file in manifest.files]
    return gaps + sum(sizes.get(file.key) != file.size_bytes for file in files)


def _windows(raw_store: RawStoreResource, table: SourceTable) -> _Windows:
    windows = {name: list(raw_store.manifests(name, table.name)) for name in raw_store.sources(table.name)}
    return {name: of_source for name, of_source in windows.items() if of_source}


def _follows(before: Manifest, after: Manifest) -> bool:
    """Return whether a window starts where the previous one ends. An export is complete, so it has no start."""
    return before.number + 1 == after.number and (after.kind == EXPORT or before.upper == after.lower)


@check_tables("raw", guards=True)
def contract_holds(table: SourceTable, raw_store: RawStoreResource, source: ResourceParam[Source]) -> AssetCheckResult:
    """The source has the declared columns, now and when it was last read."""
    newest = {name: raw_store.newest(name, table.name) for name in raw_store.sources(table.name)}
    columns = {name: window.source_columns for name, window in newest.items() if window}
    columns[source.name] = source.columns(table.name)
    found = {name: compare(table, of_source) for name, of_source in columns.items()}
    differing = {name: difference for name, difference in found.items() if not difference.is_empty}
    is_refused = any(difference.is_refused for difference in differing.values())
    changes = {
        f"{name}_{kind}": ", ".join(sorted(getattr(difference, kind))) or "none"
        for name, difference in found.items()
        for kind in ("added", "dropped", "retyped")
    }
    return AssetCheckResult(
        passed=not differing,
        severity=AssetCheckSeverity.ERROR if is_refused else AssetCheckSeverity.WARN,
        description=" ".join(f"{name}: {found[name].describe()}" for name in (differing or found)),
        metadata={"policy": str(table.policy), **changes},
    )


@check_tables("raw", "rows on which sources disagree", daily=True)
def sources_agree(table: SourceTable, raw_store: RawStoreResource) -> tuple[int, Metadata]:
    """Two sources whose windows cover the same interval have the same rows, each once.

    Reads every extracted row, one bucket at a time.
    """
    windows = _windows(raw_store, table)
    intervals = {
        name: covered([(window.lower, window.upper) for window in of_source]) for name, of_source in windows.items()
    }
    found, rows = [disagreements(pl.DataFrame(schema=VERSIONS), {})], 0
    for bucket in sorted(
        {file.bucket for of_source in windows.values() for window in of_source for file in window.files}
    ):
        versions = _versions(raw_store, table, windows, bucket)
        rows += versions.height
        judged = disagreements(versions, intervals)
        found.append(moved_elsewhere(judged, _elsewhere(raw_store, table, windows, bucket, judged["key"])))
    problems = pl.concat(found)
    counts = {str(name): int(count) for name, count in problems["problem"].value_counts().iter_rows()}
    examples = "; ".join(map(_described, problems.head(_EXAMPLES).to_dicts()))
    shown = {"examples": examples} if examples else {}
    return problems.height, {"sources": ", ".join(windows), "rows": rows, **counts, **shown}


def _versions(raw_store: RawStoreResource, table: SourceTable, windows: _Windows, bucket: int) -> pl.DataFrame:
    """Return the versions of all windows in a bucket, with a hash of the columns that every source has."""
    known = [set(found[-1].source_columns or table.schema.names) for found in windows.values()]
    shared = [name for name in table.schema.names if all(name in columns for columns in known)]
    frames = [pl.DataFrame(schema=VERSIONS)]
    for window, files in _files(windows, lambda found: found == bucket):
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
        for window, files in _files(windows, lambda found: found != bucket):
            rows = raw_store.read(files, [table.key, UPDATED_AT]).filter(pl.col(table.key).is_in(keys.implode()))
            frames.append(rows.select(pl.lit(window.source).alias("source"), key=table.key, updated_at=UPDATED_AT))
    return pl.concat(frames)


def _files(windows: _Windows, wanted: Callable[[int], bool]) -> Iterator[tuple[Manifest, list[WindowFile]]]:
    """Yield each window with its files in the wanted buckets, if it has any."""
    for of_source in windows.values():
        for window in of_source:
            files = [file for file in window.files if wanted(file.bucket)]
            if files:
                yield window, files


def _described(row: Mapping[str, object]) -> str:
    pair = row["source"] if row["problem"] == DOUBLED else f"{row['source']} and {row['other']}"
    return f"{as_code(row['key'])} of {row['updated_at']} {row['problem']}: {pair}"


@check_tables("raw", daily=True)
def all_rows_read(
    table: SourceTable,
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
    spec, buckets = LAKE_TABLES[table.name], bucket_count()
    found = UnreadRows(source, raw_store, lake, quarantine, table, spec, buckets, skew, keep).count()
    return _advice(
        not found.undated and not found.backfilled,
        f"{found.undated:,} rows of {table.name} have no updated_at and {found.backfilled:,} or more have an old "
        "one and did not land: no window reads them. Set updated_at to now() in the source; the job "
        "raw_key_reconciliation lands those of the second kind."
        if found.undated or found.backfilled
        else "Windows read every row.",
        {"undated": found.undated, "backfilled": found.backfilled},
    )


@check(f"raw/{next(iter(SOURCE_TABLES))}")
def mark_is_recent(source: ResourceParam[Source], raw_store: RawStoreResource) -> AssetCheckResult:
    """No transaction of the source is open for so long that rows wait for it, and its clock was not set back."""
    if not isinstance(source, LiveSource):
        return _advice(True, f"{source.name} has no transactions that rows wait for.")
    oldest, limit = source.oldest_transaction(), old_transaction_seconds()
    if oldest is not None and (datetime.now(UTC) - oldest.since).total_seconds() > limit:
        return _advice(
            False,
            f"Rows wait for an open transaction: {oldest.describe()}. "
            f"End it in its application, or run {oldest.remedy}.",
            {"transaction": oldest.describe()},
        )
    if until := waits_until(source, raw_store, timedelta(seconds=clock_skew_seconds())):
        return _advice(False, f"{CLOCK_SET_BACK.format(until)} {CLOCK_FIX}")
    return _advice(True, f"No transaction is open for more than {limit:,.0f} seconds, and no clock was set back.")


def _advice(passed: bool, description: str, metadata: Metadata | None = None) -> AssetCheckResult:
    """Return a result of severity WARN: the lake is right as far as it goes, and somebody should look."""
    return AssetCheckResult(
        passed=passed, severity=AssetCheckSeverity.WARN, description=description, metadata=metadata or {}
    )
