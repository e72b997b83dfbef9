"""Whether two sources of a table agree, where both were read over the same interval."""

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
    "is_tombstone": pl.Boolean(),
    "content": pl.UInt64(),
}
"""One version of a row as one window of a source landed it; ``content`` is a hash of what both sources have."""
DISAGREEMENTS = {
    "problem": pl.String(),
    "key": pl.String(),
    "updated_at": pl.Datetime("us", "UTC"),
    "source": pl.String(),
    "other": pl.String(),
}


@dataclass(frozen=True)
class Interval:
    """What the windows of a source cover, ``[lower, upper)``; a lower of None is open."""

    lower: datetime | None
    upper: datetime

    def common(self, other: "Interval") -> "Interval | None":
        """What both cover, or None."""
        lowers = [lower for lower in (self.lower, other.lower) if lower is not None]
        found = Interval(max(lowers, default=None), min(self.upper, other.upper))
        return found if found.lower is None or found.lower < found.upper else None


def covered(windows: Sequence[tuple[str | None, str]]) -> Interval:
    """What windows, each given by its bounds as text, cover; those of one source follow one another."""
    lowers = [lower for lower, _ in windows]
    first = None if None in lowers else min(datetime.fromisoformat(lower) for lower in lowers if lower)
    return Interval(first, max(datetime.fromisoformat(upper) for _, upper in windows))


def disagreements(versions: pl.DataFrame, intervals: Mapping[str, Interval]) -> pl.DataFrame:
    """Rows on which sources disagree, as DISAGREEMENTS: ``source`` has what ``other`` lacks or has otherwise.

    A version that the other source never saw is missing there, unless that saw a later one of the key: it was read
    after the change; or somebody found the key deleted since. A version with the same moment has to have the same
    content. A key that one window has twice is doubled: a window reads every row once.
    """
    repeated = versions.group_by("source", "window", "key").agg(pl.len(), pl.col("updated_at").max())
    doubled = repeated.filter(pl.col("len") > 1).select(
        pl.lit(DOUBLED).alias("problem"), "key", "updated_at", "source", pl.col("source").alias("other")
    )
    gone = versions.filter("is_tombstone").group_by("key").agg(pl.col("updated_at").max().alias("gone_at"))
    found = [pl.DataFrame(schema=DISAGREEMENTS), doubled]
    for source, other in permutations(sorted(intervals), 2):
        common = intervals[source].common(intervals[other])
        if common is not None:
            mine, theirs = (versions.filter(pl.col("source") == name) for name in (source, other))
            found += _compared(_newest_within(mine, common), theirs, gone, (source, other))
    return pl.concat(found).unique().sort("problem", "key", "source", "other")


def moved_elsewhere(found: pl.DataFrame, elsewhere: pl.DataFrame) -> pl.DataFrame:
    """Disagreements of one bucket without rows that only moved to another; ``elsewhere`` is (source, key, updated_at).

    What the other source has in another bucket in a later version was read after its move. With the same moment, it
    is another account's there: it differs.
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
    """The newest version of each key, if it lies in the interval: an older one may never have been seen elsewhere."""
    newest = versions.filter(~pl.col("is_tombstone")).sort("updated_at", "window").unique("key", keep="last")
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
    # Either order of the two finds it: it is reported once.
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
