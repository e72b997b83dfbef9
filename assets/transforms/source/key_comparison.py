"""Compare the keys of a source with the keys of the lake."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Bounds:
    """The limits of ``updated_at`` below which rows are compared.

    A row of the lake below ``judged_below`` must be in the source, unless it was deleted: rows that were not committed
    when the source was read have a later ``updated_at``. A row of the source below ``landed_below`` must be in the
    lake, because windows up to there are complete.
    """

    judged_below: datetime
    landed_below: datetime

    @property
    def deletion_time(self) -> datetime:
        """Return the ``updated_at`` of deletion rows: after every compared version, before every other."""
        return self.judged_below - _TICK


@dataclass(frozen=True)
class VanishedLimit:
    """The most keys that may vanish at once: ``keys``, or ``share`` of the current keys if that is more.

    Beyond it the source is more likely wrong than the lake: a filtered view, TRUNCATE, an unfinished restore, a wrong
    database.
    """

    share: float = 0.2
    keys: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"max_vanished_share is {self.share:g}; it must be between 0 and 1.")
        if self.keys < 0:
            raise ValueError(f"max_vanished_keys is {self.keys}; it must be 0 or more.")

    def allows(self, vanished: int, current: int) -> bool:
        """Return whether ``vanished`` of ``current`` keys may be marked as deleted."""
        return vanished <= max(self.keys, self.share * current)


DEFAULT_LIMIT = VanishedLimit()


@dataclass(frozen=True)
class Differences:
    """Keys by kind of difference.

    ``vanished``: the lake's row is not deleted and the source has none. ``missing``: the lake has no row. ``stale``:
    the lake's version is older. ``ahead``: the lake's version is later, because the source restored an old row or the
    lake has a deletion row. ``undated``: the source's row has no usable ``updated_at``, so no window reads it.
    ``keyless``: the number of source rows without a key. ``current``: the number of lake keys that are not deleted.
    """

    vanished: pl.Series
    missing: pl.Series
    stale: pl.Series
    ahead: pl.Series
    undated: pl.Series
    keyless: int = 0
    current: int = 0

    @property
    def to_read(self) -> list[str]:
        """Return the sorted keys whose rows must be read from the source."""
        wanted = (self.missing, self.stale, self.ahead, self.undated)
        return sorted(key for keys in wanted for key in keys.to_list())


def compare_keys(source: pl.DataFrame, lake: pl.DataFrame, bounds: Bounds) -> Differences:
    """Compare (key, updated_at) of a source with (key, updated_at, is_deleted) of the lake.

    Rows without a key are counted in ``keyless`` only. The lake's side may have several versions of a key, because
    windows are not merged yet; the latest counts.
    """
    latest = lake.sort("updated_at").unique("key", keep="last")
    joined = (
        source.drop_nulls("key")
        .with_columns(in_source=True)
        .join(latest.with_columns(in_lake=True), on="key", how="full", coalesce=True, suffix="_held")
    )
    here, there = pl.col("in_source").is_not_null(), pl.col("in_lake").is_not_null()
    theirs, ours = pl.col("updated_at"), pl.col("updated_at_held")
    expected = here & (theirs < bounds.landed_below)

    def keys(condition: pl.Expr) -> pl.Series:
        return joined.filter(condition)["key"]

    return Differences(
        vanished=keys(~here & ~pl.col("is_deleted") & (ours < bounds.deletion_time)),
        missing=keys(expected & ~there),
        stale=keys(expected & there & (ours < theirs)),
        ahead=keys(expected & there & (ours > theirs) & (ours < bounds.judged_below)),
        undated=keys(here & theirs.is_null()),
        keyless=source["key"].null_count(),
        current=latest.filter(~pl.col("is_deleted")).height,
    )


def deletion_rows(rows: pl.DataFrame, bounds: Bounds, deleted_at: datetime) -> pl.DataFrame:
    """Return the deletion rows of some rows of the lake: the rows, marked as deleted at ``deleted_at``."""
    return rows.with_columns(
        deleted_at=pl.lit(deleted_at).cast(rows.schema["deleted_at"]),
        updated_at=pl.lit(bounds.deletion_time).cast(rows.schema["updated_at"]),
    )
