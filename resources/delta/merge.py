"""Which rows of a table have to change: purely, from rows that stand and rows that come."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from resources.delta.spec import BUCKET, Changes

FILE = "_file"
"""The number of the file, in its snapshot, that a standing row is in."""
_STANDING = "_standing"


@dataclass(frozen=True)
class Edit:
    """Rows to take out, as they stand and with the FILE they are in, rows to put in, and what that is called."""

    before: pl.DataFrame
    after: pl.DataFrame
    changes: Changes


@dataclass(frozen=True)
class MergeRule:
    """How a window's rows win beside the rule that the later ``updated_at`` does.

    Of equal times the row that comes wins if it really differs, since an application may cut its times to seconds and
    windows come in order; not where the window is not the latest (``is_latest``), nor over a row that stood in a bucket
    of ``ahead``, where later windows of the same source may have been merged. A row that was judged by what the source
    really holds (``judged_below``, a comparison of all keys) wins over any that stands with an ``updated_at`` below.
    """

    ahead: tuple[int, ...] = ()
    is_latest: bool = True
    judged_below: datetime | None = None


LATER_WINS = MergeRule()
"""The rule of a source's newest window."""


@dataclass(frozen=True)
class BucketWindow:
    """A source's window, and the application under which each bucket (of all) records the last one that it has.

    Another run may merge the same window and those after it at any time, so how far a bucket is has to be asked of the
    very version that an edit is computed from: a row is never merged over what a later window said of it.
    """

    number: int
    applications: Mapping[int, str]

    def of(self, buckets: Iterable[int]) -> set[str]:
        """The applications of some buckets."""
        return {self.applications[bucket] for bucket in buckets if bucket in self.applications}

    def merged(self, recorded: Mapping[str, int]) -> tuple[int, ...]:
        """The buckets that have this window; ``recorded`` is application → the last that it has."""
        return tuple(bucket for bucket, app in self.applications.items() if recorded.get(app, 0) >= self.number)

    def ahead(self, recorded: Mapping[str, int]) -> tuple[int, ...]:
        """The buckets that have a later one."""
        return tuple(bucket for bucket, app in self.applications.items() if recorded.get(app, 0) > self.number)


def newer(standing: pl.DataFrame, rows: pl.DataFrame, key: tuple[str, ...], rule: MergeRule = LATER_WINS) -> Edit:
    """What rows of a window change: one row a key in ``rows``, the later ``updated_at`` wins, else as the rule says.

    ``standing`` holds every row of those keys in any bucket, with FILE.
    """
    names = [name for name in rows.columns if name in standing.columns]
    newest = standing.sort("updated_at", descending=True, nulls_last=True).unique(list(key), keep="first")
    joined = rows.join(
        newest.select(*key, pl.struct(names).alias(_STANDING)), on=list(key), how="left", nulls_equal=True
    )
    was, is_new = pl.col(_STANDING).struct, pl.col(_STANDING).is_null()
    later = pl.col("updated_at") > was.field("updated_at")
    tie = (pl.col("updated_at") == was.field("updated_at")) & pl.lit(rule.is_latest)
    overruled = was.field("updated_at") < pl.lit(rule.judged_below, pl.Datetime("us", "UTC"))
    by_rule = (tie | overruled.fill_null(value=False)) & pl.struct(names).ne_missing(pl.col(_STANDING))
    if BUCKET in names:
        moved = was.field(BUCKET).ne_missing(pl.col(BUCKET))
        by_rule = by_rule & ~(moved & was.field(BUCKET).is_in(list(rule.ahead)))
    else:
        moved = pl.lit(value=False)
    judged = joined.with_columns(_new=is_new, _wins=(is_new | later | by_rule).fill_null(value=False), _moved=moved)
    after = judged.filter("_wins")
    before = standing.join(after.select(key), on=list(key), how="semi", nulls_equal=True)
    inserted = after.filter("_new").height
    counts = Changes(inserted, after.height - inserted, 0, rows.height - after.height)
    moves = after.filter(~pl.col("_new") & pl.col("_moved")).height
    counts = counts + Changes(inserted=moves, updated=-moves, deleted=moves)
    return Edit(before, after.select(rows.columns), counts)


def difference(standing: pl.DataFrame, desired: pl.DataFrame, key: tuple[str, ...]) -> Edit:
    """What makes the standing rows, with FILE, exactly the desired ones: one row a key in ``desired``.

    Rows are compared by their whole content. A key that stands twice, which none should, is put right.
    """
    names, on = desired.columns, list(key)
    once = standing.filter(~pl.struct(key).is_duplicated())
    joined = desired.join(once.select(*on, pl.struct(names).alias(_STANDING)), on=on, how="left", nulls_equal=True)
    differs = pl.col(_STANDING).is_null() | pl.struct(names).ne_missing(pl.col(_STANDING))
    after = joined.filter(differs).select(names)
    kept = joined.filter(~differs).select(key)
    before = standing.join(kept, on=on, how="anti", nulls_equal=True)
    updated = after.join(before, on=on, how="semi", nulls_equal=True).height
    gone = before.join(after, on=on, how="anti", nulls_equal=True).height
    return Edit(before, after, Changes(after.height - updated, updated, gone, kept.height))


def images(edit: Edit, key: tuple[str, ...]) -> pl.DataFrame:
    """The edit as Delta's change feed tells it: whole rows with ``_change_type``.

    A row that moved to another bucket is deleted there and inserted here.
    """
    place = [*key, *([BUCKET] if BUCKET in edit.after.columns and BUCKET not in key else [])]
    before, after = edit.before.drop(FILE), edit.after
    was = pl.when(pl.col("_paired").is_null())
    pairs = pl.lit(value=True).alias("_paired")
    old = before.join(after.select(*place, pairs), on=place, how="left", nulls_equal=True)
    new = after.join(before.select(*place, pairs).unique(place), on=place, how="left", nulls_equal=True)
    # Of rows that stood twice under one key, one is updated and the others are deleted.
    first = pl.struct(place).is_first_distinct()
    old = old.with_columns(pl.when(first).then("_paired").alias("_paired"))
    return pl.concat(
        [
            old.with_columns(_change_type=was.then(pl.lit("delete")).otherwise(pl.lit("update_preimage"))),
            new.with_columns(_change_type=was.then(pl.lit("insert")).otherwise(pl.lit("update_postimage"))),
        ],
        how="diagonal",
    ).drop("_paired")
