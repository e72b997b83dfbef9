"""What a comparison of all keys of a source with those of the lake says about each key."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Bounds:
    """What may be judged.

    A row of the lake from before ``judged_below`` must be in the source, if it was not deleted: whatever was not yet
    committed when the source was read has a later ``updated_at``. A row of the source from before ``landed_below`` must
    be in the lake, because windows up to there are complete.
    """

    judged_below: datetime
    landed_below: datetime

    @property
    def tombstone(self) -> datetime:
        """The ``updated_at`` of a tombstone: after every version that is judged, before every one that is not."""
        return self.judged_below - _TICK


@dataclass(frozen=True)
class Differences:
    """Keys by what is wrong with them.

    ``vanished``: the lake's row stands and the source has none. ``missing``: the lake has none. ``stale``: the lake's
    version is older. ``ahead``: the lake's is later than the source's, because the row was put back as it was, or it is
    a tombstone of ours. ``undated``: the source's row has no ``updated_at``, so no window takes it. ``keyless`` is how
    many rows of the source have no key.
    """

    vanished: pl.Series
    missing: pl.Series
    stale: pl.Series
    ahead: pl.Series
    undated: pl.Series
    keyless: int = 0

    @property
    def to_read(self) -> list[str]:
        """The keys whose rows the source has to be asked for, sorted."""
        wanted = (self.missing, self.stale, self.ahead, self.undated)
        return sorted(key for keys in wanted for key in keys.to_list())


def compare_keys(source: pl.DataFrame, lake: pl.DataFrame, bounds: Bounds) -> Differences:
    """Judge every key of (key, updated_at) of a source against (key, updated_at, is_deleted) of the lake.

    A row without a key is none that anything could be said of: ``keyless`` counts them. Of several versions in the
    lake, as there are before all windows are merged, the latest counts.
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
        vanished=keys(~here & ~pl.col("is_deleted") & (ours < bounds.tombstone)),
        missing=keys(expected & ~there),
        stale=keys(expected & there & (ours < theirs)),
        ahead=keys(expected & there & (ours > theirs) & (ours < bounds.judged_below)),
        undated=keys(here & theirs.is_null()),
        keyless=source["key"].null_count(),
    )


def tombstones(rows: pl.DataFrame, bounds: Bounds, deleted_at: datetime) -> pl.DataFrame:
    """Rows of the lake, marked as deleted at a moment."""
    return rows.with_columns(
        deleted_at=pl.lit(deleted_at).cast(rows.schema["deleted_at"]),
        updated_at=pl.lit(bounds.tombstone).cast(rows.schema["updated_at"]),
    )
