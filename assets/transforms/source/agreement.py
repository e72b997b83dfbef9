"""Compare the rows of two sources of a table over an interval that both cover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations

import polars as pl

MISSING, DIFFERS, DOUBLED = "missing", "differs", "doubled"
VERSIONS = {
    "source": pl.String(),
    "window": pl.Int64(),
    "key": pl.String(),
    "updated_at": pl.Datetime("us", "UTC"),
    "is_deletion": pl.Boolean(),
    "content": pl.UInt64(),
}
"""One version of a row in one window; ``content`` is a hash of the columns that all sources have."""
DISAGREEMENTS = {
    "problem": pl.String(),
    "key": pl.String(),
    "updated_at": pl.Datetime("us", "UTC"),
    "source": pl.String(),
    "other": pl.String(),
}


@dataclass(frozen=True)
class Interval:
    """The interval ``[lower, upper)`` that the windows of a source cover; a lower of None is open."""

    lower: datetime | None
    upper: datetime

    def common(self, other: "Interval") -> "Interval | None":
        """Return the intersection, or None if it is empty."""
        lowers = [lower for lower in (self.lower, other.lower) if lower is not None]
        found = Interval(max(lowers, default=None), min(self.upper, other.upper))
        return found if found.lower is None or found.lower < found.upper else None


def covered(windows: Sequence[tuple[str | None, str]]) -> Interval:
    """Return the interval of one source's contiguous windows, given by their bounds as text."""
    lowers = [lower for lower, _ in windows]
    first = None if None in lowers else min(datetime.fromisoformat(lower) for lower in lowers if lower)
    return Interval(first, max(datetime.fromisoformat(upper) for _, upper in windows))


def disagreements(versions: pl.DataFrame, intervals: Mapping[str, Interval]) -> pl.DataFrame:
    """Return rows on which sources disagree, as DISAGREEMENTS: ``other`` lacks the row of ``source`` or differs.

    A version is missing in the other source if that has neither the version nor a later one of its key, and no
    deletion row is later. Versions with the same ``updated_at`` must have the same content. A key is doubled if one
    window has it twice: a window reads every row once.
    """
    repeated = versions.group_by("source", "window", "key").agg(pl.len(), pl.col("updated_at").max())
    doubled = repeated.filter(pl.col("len") > 1).select(
        pl.lit(DOUBLED).alias("problem"), "key", "updated_at", "source", pl.col("source").alias("other")
    )
    gone = versions.filter("is_deletion").group_by("key").agg(pl.col("updated_at").max().alias("gone_at"))
    found = [pl.DataFrame(schema=DISAGREEMENTS), doubled]
    for source, other in permutations(sorted(intervals), 2):
        common = intervals[source].common(intervals[other])
        if common is not None:
            mine, theirs = (versions.filter(pl.col("source") == name) for name in (source, other))
            found += _compared(_newest_within(mine, common), theirs, gone, (source, other))
    return pl.concat(found).unique().sort("problem", "key", "source", "other")


def moved_elsewhere(found: pl.DataFrame, elsewhere: pl.DataFrame) -> pl.DataFrame:
    """Drop disagreements about rows that moved to another bucket; ``elsewhere`` is (source, key, updated_at).

    If the other source has a later version in another bucket, it was read after the move. If it has the same
    ``updated_at`` there, the account differs.
    """
    latest = elsewhere.group_by("source", "key").agg(pl.col("updated_at").max().alias("_there"))
    judged = found.join(latest, left_on=["other", "key"], right_on=["source", "key"], how="left")
    is_missing = pl.col("problem") == MISSING
    kept = judged.filter(~(is_missing & (pl.col("_there") > pl.col("updated_at")).fill_null(value=False)))
    differs = is_missing & (pl.col("_there") == pl.col("updated_at")).fill_null(value=False)
    return kept.with_columns(pl.when(differs).then(pl.lit(DIFFERS)).otherwise("problem").alias("problem")).drop(
        "_there"
    )


def _newest_within(versions: pl.DataFrame, common: Interval) -> pl.DataFrame:
    """Return the newest version of each key, if it is in the interval. Another source may not have seen older ones."""
    newest = versions.filter(~pl.col("is_deletion")).sort("updated_at", "window").unique("key", keep="last")
    within = newest.filter(pl.col("updated_at") < common.upper)
    return within if common.lower is None else within.filter(pl.col("updated_at") >= common.lower)


def _compared(
    mine: pl.DataFrame, theirs: pl.DataFrame, gone: pl.DataFrame, names: tuple[str, str]
) -> list[pl.DataFrame]:
    source, other = names
    latest = theirs.group_by("key").agg(pl.col("updated_at").max().alias("latest"))
    unseen = mine.join(latest, on="key", how="left").join(gone, on="key", how="left")
    is_later = (pl.col("latest") >= pl.col("updated_at")) | (pl.col("gone_at") >= pl.col("updated_at"))
    missing = unseen.filter(~is_later.fill_null(value=False))
    last = theirs.sort("window").unique(["key", "updated_at"], keep="last")
    pairs = mine.join(last, on=["key", "updated_at"], suffix="_there")
    # Both orders of the two sources find the difference; report it once.
    differing = pairs.filter((pl.col("content") != pl.col("content_there")) & pl.lit(source < other))
    return [
        rows.select(
            pl.lit(problem).alias("problem"),
            "key",
            "updated_at",
            pl.lit(source).alias("source"),
            pl.lit(other).alias("other"),
        )
        for problem, rows in ((MISSING, missing), (DIFFERS, differing))
    ]
