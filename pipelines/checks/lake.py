"""Checks of lake/*: keys, values, and agreement with raw/*."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl

from assets.lake import LAKE_TABLES
from assets.lake.comparison import COMMAND, LakeComparison
from assets.transforms.source.schema import SourceTable, account_bucket
from pipelines.checks.declaration import check_tables, count
from resources.delta.table import BUCKET, LakeResource, fingerprint
from resources.raw.store import RawStoreResource
from resources.settings import bucket_count

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCK_AHEAD = timedelta(days=1)
_MISREAD = r"\x{FFFD}|Ã[\x{80}-\x{BF}]|Â[\x{80}-\x{BF}]|â€"
"""Replacement characters, and UTF-8 that was read as Latin-1 or Windows-1252."""
_SHARE, _LEAST_ROWS = 0.01, 3


@check_tables("lake", "repeated, missing or misplaced keys", specs=LAKE_TABLES, by_bucket=True, guards=True)
def keys_unique(table: SourceTable, bucket: int, lake: LakeResource) -> int:
    """Every key occurs once in its bucket, and the bucket is that of its account."""
    rows = lake.scan_cached(LAKE_TABLES[table.name], bucket)
    rows = rows.select(table.key, owner=pl.coalesce(table.owner_columns))
    keys = rows.collect()
    buckets = {owner: account_bucket(owner, bucket_count()) for owner in keys["owner"].drop_nulls().unique()}
    # A row without an owner is in bucket 0.
    placed = keys["owner"].replace_strict(buckets, default=0, return_dtype=pl.Int64)
    return keys.height - keys[table.key].drop_nulls().n_unique() + int((placed != bucket).sum())


@check_tables("lake", "keys in more than one bucket", specs=LAKE_TABLES, daily=True)
def keys_in_one_bucket(table: SourceTable, lake: LakeResource) -> int:
    """No key occurs in two buckets. Reads every key."""
    places = lake.scan(LAKE_TABLES[table.name]).select(table.key, BUCKET).unique()
    return count(places) - count(places.select(table.key).unique())


@check_tables(
    "lake", "implausible times, counts or ratings", specs=LAKE_TABLES, by_bucket=True, advises=True, daily=True
)
def values_plausible(table: SourceTable, bucket: int, lake: LakeResource) -> int:
    """Required columns have values, updated_at lies between 2000 and tomorrow, and so do other times.

    Counts and ratings are possible. At most 1 % of a bucket's rows may have another odd time or figure, because
    a source has a few. Fewer than 3 pass.
    """
    names, latest = table.schema.names, datetime.now(UTC) + _CLOCK_AHEAD
    moments = [name for name in ("created_at", "posted_at", "updated_at", "deleted_at") if name in names]
    counts = [name for name in ("followers", "likes", "comments", "views", "shares") if name in names]
    wrong = [*(pl.col(name).is_null() for name in table.required), ~pl.col("updated_at").is_between(_EARLIEST, latest)]
    odd = [
        *(~pl.col(name).is_between(_EARLIEST, latest) for name in moments if name != "updated_at"),
        *(pl.col(name) < 0 for name in counts),
        *(~pl.col(name).is_between(1, 5) for name in ("rating",) if name in names),
    ]
    rows = lake.scan_cached(LAKE_TABLES[table.name], bucket)
    counted = rows.select(_any(wrong).sum(), _any(odd).sum().alias("odd"), pl.len().alias("rows"))
    wrong_rows, odd_rows, total = counted.collect().row(0)
    return int(wrong_rows) + _above_share(odd_rows, total)


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(condition.fill_null(value=False) for condition in conditions)


def _above_share(rows: int, total: int) -> int:
    """Return a number of rows; 0 if they are few beside all rows."""
    return rows if rows >= max(_LEAST_ROWS, _SHARE * total) else 0


@check_tables("lake", "texts with misread characters", specs=LAKE_TABLES, by_bucket=True, advises=True, daily=True)
def texts_readable(table: SourceTable, bucket: int, lake: LakeResource) -> int:
    """At most 1 % of a bucket's texts have characters of a wrong encoding, such as Ã© for é. Fewer than 3 pass."""
    texts = [name for name in ("text", "bio", "display_name") if name in table.schema.names]
    rows = lake.scan_cached(LAKE_TABLES[table.name], bucket).select(texts)
    is_misread = _any(pl.col(name).str.contains(_MISREAD) for name in texts)
    return _above_share(*rows.select(is_misread.sum(), pl.len().alias("rows")).collect().row(0))


def _windows(table: SourceTable, raw_store: RawStoreResource) -> str:
    """Return the fingerprint of the windows of a table."""
    sources = raw_store.sources(table.name)
    return fingerprint(f"{source} {raw_store.numbers(source, table.name)}" for source in sources)


@check_tables(
    "lake", f"rows that differ from raw/*; `{COMMAND}` mends them", specs=LAKE_TABLES, version=_windows, daily=True
)
def reconciles_with_raw(
    table: SourceTable, raw_store: RawStoreResource, lake: LakeResource
) -> tuple[int, dict[str, int | str]]:
    """The lake has exactly the newest usable version of every key that was ever extracted, in all its columns.

    Reads every version after a new window or a change of the table. Memory: the versions of one bucket.
    """
    found = LakeComparison(table, raw_store, lake).differences()
    return found.found, {**found.problems, **({"what": found.said(), "mend": COMMAND} if found.found else {})}
