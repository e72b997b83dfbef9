"""Compute the edit that a table needs, from its current rows and the incoming rows. Pure functions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from resources.delta.spec import BUCKET, Changes

FILE = "_file"
"""Column of a current row: the number of its file in the snapshot."""
_CURRENT = "_current"


@dataclass(frozen=True)
class Edit:
    """Rows to delete, as they are in the table and with their FILE; rows to insert; and the number of changes."""

    before: pl.DataFrame
    after: pl.DataFrame
    changes: Changes


@dataclass(frozen=True)
class MergeRule:
    """Decide whether an incoming row replaces the current row of its key. The later ``updated_at`` wins, except:

    ``is_latest``: on equal times an incoming row that differs wins, because an application may cut its times to
    seconds. It loses if its window is not the source's latest.
    ``judged_below``: set for rows that a key reconciliation read. They win over rows with an earlier ``updated_at``
    than this time.
    """

    is_latest: bool = True
    judged_below: datetime | None = None


LaterRows = Callable[[int, int, pl.DataFrame], pl.DataFrame]
"""Takes a bucket, the number of a window, and rows. Returns which of these keys the windows after the one that is being
merged, up to that number, have in the bucket: the key columns and ``updated_at``."""


def no_later_rows(_bucket: int, _last: int, rows: pl.DataFrame) -> pl.DataFrame:
    """Return no rows: for a source whose later windows have none of the keys."""
    return rows.clear()


@dataclass(frozen=True)
class BucketWindow:
    """A source's window, and the application id under which each of all buckets records its last window.

    Another run may merge this window and later ones at any time. So a bucket's last window must be read from the same
    version that the edit is computed from; a row is never merged over a later window's row. Where a key moved between
    buckets without a later ``updated_at``, only ``later_rows`` can tell which window its current row is from.
    """

    number: int
    applications: Mapping[int, str]
    later_rows: LaterRows = no_later_rows

    def of(self, buckets: Iterable[int]) -> set[str]:
        """Return the applications of some buckets."""
        return {self.applications[bucket] for bucket in buckets if bucket in self.applications}

    def at_least(self, number: int, recorded: Mapping[str, int]) -> tuple[int, ...]:
        """Return the buckets that have window ``number`` or later. ``recorded``: application → its last window."""
        return tuple(bucket for bucket, app in self.applications.items() if recorded.get(app, 0) >= number)

    def kept(self, edit: Edit, key: Sequence[str], recorded: Mapping[str, int]) -> pl.DataFrame:
        """Return the keys that ``edit`` moves out of another bucket although a later window left them there."""
        ahead, on = self.at_least(self.number + 1, recorded), list(key)
        coming = edit.after.select(*key, "updated_at", pl.col(BUCKET).alias("_to"))
        moved = edit.before.filter(pl.col(BUCKET).is_in(ahead)).join(coming, on=on, nulls_equal=True, suffix="_coming")
        contested = moved.filter(pl.col(BUCKET) != pl.col("_to"), pl.col("updated_at") >= pl.col("updated_at_coming"))
        found = [contested.select(key).clear()]
        for (bucket,), rows in contested.group_by(BUCKET):
            later = self.later_rows(bucket, recorded[self.applications[bucket]], rows)
            found.append(rows.join(later, on=[*key, "updated_at"], how="semi", nulls_equal=True).select(key))
        return pl.concat(found)


def newer(current: pl.DataFrame, rows: pl.DataFrame, key: tuple[str, ...], rule: MergeRule | None = None) -> Edit:
    """Return the edit that merges a window's rows, one row a key.

    ``current`` has every row of those keys in any bucket, with FILE.
    """
    rule = rule or MergeRule()
    names, on = [name for name in rows.columns if name in current.columns], list(key)
    newest = current.sort("updated_at", descending=True, nulls_last=True).unique(on, keep="first")
    joined = rows.join(newest.select(*key, pl.struct(names).alias(_CURRENT)), on=on, how="left", nulls_equal=True)
    was, is_new = pl.col(_CURRENT).struct, pl.col(_CURRENT).is_null()
    later = pl.col("updated_at") > was.field("updated_at")
    tie = (pl.col("updated_at") == was.field("updated_at")) & pl.lit(rule.is_latest)
    overruled = was.field("updated_at") < pl.lit(rule.judged_below, pl.Datetime("us", "UTC"))
    by_rule = (tie | overruled.fill_null(value=False)) & pl.struct(names).ne_missing(pl.col(_CURRENT))
    moved = was.field(BUCKET).ne_missing(pl.col(BUCKET)) if BUCKET in names else pl.lit(value=False)
    judged = joined.with_columns(_new=is_new, _wins=(is_new | later | by_rule).fill_null(value=False), _moved=moved)
    after = judged.filter("_wins")
    before = current.join(after.select(key), on=on, how="semi", nulls_equal=True)
    moves = after.filter(~pl.col("_new") & pl.col("_moved")).height
    inserted = after.filter("_new").height + moves
    counts = Changes(inserted, after.height - inserted, moves, rows.height - after.height)
    return Edit(before, after.select(rows.columns), counts)


def difference(current: pl.DataFrame, desired: pl.DataFrame, key: tuple[str, ...]) -> Edit:
    """Return the edit that makes the current rows, with FILE, equal the desired rows, one row a key.

    Rows are compared by all their columns. A key that is in the table twice is corrected.
    """
    names, on = desired.columns, list(key)
    once = current.filter(~pl.struct(key).is_duplicated())
    joined = desired.join(once.select(*on, pl.struct(names).alias(_CURRENT)), on=on, how="left", nulls_equal=True)
    differs = pl.col(_CURRENT).is_null() | pl.struct(names).ne_missing(pl.col(_CURRENT))
    after = joined.filter(differs).select(names)
    kept = joined.filter(~differs).select(key)
    before = current.join(kept, on=on, how="anti", nulls_equal=True)
    updated = after.join(before, on=on, how="semi", nulls_equal=True).height
    deleted = before.join(after, on=on, how="anti", nulls_equal=True).height
    return Edit(before, after, Changes(after.height - updated, updated, deleted, kept.height))


def images(edit: Edit, key: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows of Delta's change feed for an edit: whole rows with ``_change_type``.

    A row that moved to another bucket is deleted in the old one and inserted in the new one.
    """
    place = [*key, *([BUCKET] if BUCKET in edit.after.columns and BUCKET not in key else [])]
    before, after = edit.before.drop(FILE), edit.after
    is_pair = pl.lit(value=True).alias("_paired")
    old = before.join(after.select(*place, is_pair), on=place, how="left", nulls_equal=True)
    new = after.join(before.select(*place, is_pair).unique(place), on=place, how="left", nulls_equal=True)
    # A key that is in the table twice has one update; the other rows are deletes.
    old = old.with_columns(pl.when(pl.struct(place).is_first_distinct()).then("_paired").alias("_paired"))
    alone = pl.when(pl.col("_paired").is_null())
    return pl.concat(
        [
            old.with_columns(_change_type=alone.then(pl.lit("delete")).otherwise(pl.lit("update_preimage"))),
            new.with_columns(_change_type=alone.then(pl.lit("insert")).otherwise(pl.lit("update_postimage"))),
        ],
        how="diagonal",
    ).drop("_paired")
