"""Compare the rows of a table with the versions of them that were extracted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

LOST, STALE, ROUNDED, ALTERED, FOREIGN, DOUBLED, MISPLACED = PROBLEMS = (
    *("lost", "stale", "rounded", "altered", "foreign", "doubled", "misplaced"),
)
CAUSES = {
    LOST: "the newest version of these rows was extracted and is not in the lake: another writer deleted them",
    STALE: "the lake has an older version of these rows: another writer restored the table or wrote old rows",
    ROUNDED: "their times are rounded to milliseconds: an engine such as Trino or Athena rewrote the table's files",
    ALTERED: "they have values that were never extracted: another writer updated them",
    FOREIGN: "they were never extracted: another writer inserted them",
    DOUBLED: "they are in the table more than once: another writer appended them again",
    MISPLACED: "they are in the bucket of an account that they no longer belong to: another writer moved them",
}
"""Problem → how it comes about."""
PROBLEM = "problem"
_ROW, _IS, _DUE, _DUE_AT, _RIGHT = "_row", "_is", "_due", "_due_at", "_right"
_UPDATED = "updated_at"


@dataclass(frozen=True)
class RowComparison:
    """``desired``: the rows that a bucket is to have. ``problems``: key and PROBLEM of each row that is not right."""

    desired: pl.DataFrame
    problems: pl.DataFrame


def newest_versions(
    windows: Iterable[tuple[pl.DataFrame, datetime | None]], none: pl.DataFrame, key: Sequence[str]
) -> pl.DataFrame:
    """Return the newest version of each key after some windows, in the order in which they are merged.

    A key has several versions if they differ at an equal ``updated_at``; that of the latest window is the last. A
    window with a time is that of a key reconciliation: its rows win over versions from before this time. ``none``: no
    rows, in the columns of all. Memory: the result twice, and a window.
    """
    newest, pending = none, [none]
    for rows, judged_below in windows:
        if judged_below is not None:
            newest = _standing(pl.concat([newest, *pending]), key)
            newest = _standing(pl.concat([_without_overruled(newest, rows, key, judged_below), rows]), key)
            pending = [none]
            continue
        pending.append(rows)
        if sum(part.height for part in pending) > newest.height:  # so that many small windows cost little
            newest, pending = _standing(pl.concat([newest, *pending]), key), [none]
    return _standing(pl.concat([newest, *pending]), key)


def _standing(versions: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    newest = versions.filter((pl.col(_UPDATED) == pl.col(_UPDATED).max()).over(key))
    return newest.unique(maintain_order=True, keep="last")


def _without_overruled(
    earlier: pl.DataFrame, found: pl.DataFrame, key: Sequence[str], judged_below: datetime
) -> pl.DataFrame:
    at = found.select(*key, pl.col(_UPDATED).alias(_DUE_AT))
    is_overruled = pl.col(_UPDATED).is_between(pl.col(_DUE_AT), pl.lit(judged_below), closed="none")
    found_at = earlier.join(at, on=list(key), how="left", maintain_order="left")
    return found_at.filter(~is_overruled.fill_null(value=False)).drop(_DUE_AT)


def compare(due: pl.DataFrame, current: pl.DataFrame, key: Sequence[str]) -> RowComparison:
    """Compare a bucket's rows with the versions of which one of each key is to stand there.

    ``due`` and ``current`` have the same columns. A row of a key that is due elsewhere is FOREIGN here.
    """
    names, on = current.columns, list(key)
    rows = current.with_row_index(_ROW)
    versions = due.select(*key, pl.col(_UPDATED).alias(_DUE_AT), pl.struct(names).alias(_DUE), _known=pl.lit(1))
    pairs = rows.select(_ROW, *key, _UPDATED, pl.struct(names).alias(_IS)).join(versions, on=on, how="left")
    is_right = pl.col("_known").is_not_null() & pl.col(_IS).eq_missing(pl.col(_DUE))
    judged = pairs.group_by(_ROW, maintain_order=True).agg(
        *(pl.col(name).first() for name in (*key, _UPDATED, _DUE_AT)), is_right.any().alias(_RIGHT)
    )
    is_first = pl.col(_ROW) == pl.col(_ROW).sort_by(~pl.col(_RIGHT), _ROW).first().over(on)
    judged = judged.with_columns(pl.when(_RIGHT, is_first).then(None).otherwise(_problem(is_first)).alias(PROBLEM))
    right = rows.filter(pl.col(_ROW).is_in(judged.filter(pl.col(PROBLEM).is_null())[_ROW].implode())).drop(_ROW)
    last = due.unique(on, keep="last", maintain_order=True)
    restored = last.join(right.select(key), on=on, how="anti").select(names)
    lost = restored.join(current.select(key), on=on, how="anti").select(*key, pl.lit(LOST).alias(PROBLEM))
    found = judged.filter(pl.col(PROBLEM).is_not_null()).select(*key, PROBLEM)
    return RowComparison(pl.concat([right, restored]), pl.concat([lost, found]))


def misplaced(problems: pl.DataFrame, extracted: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return problems in which FOREIGN rows are MISPLACED if their keys are among those that were extracted."""
    joined = problems.join(extracted.select(*key, _known=pl.lit(1)).unique(), on=list(key), how="left")
    is_misplaced = (pl.col(PROBLEM) == FOREIGN) & pl.col("_known").is_not_null()
    return joined.select(*key, pl.when(is_misplaced).then(pl.lit(MISPLACED)).otherwise(PROBLEM).alias(PROBLEM))


def _problem(is_first: pl.Expr) -> pl.Expr:
    """Return the problem of a row that is not the right one of its key."""
    due, found = pl.col(_DUE_AT), pl.col(_UPDATED)
    return (
        pl.when(due.is_null())
        .then(pl.lit(FOREIGN))
        .when(~is_first)
        .then(pl.lit(DOUBLED))
        .when((found != due) & ((found == due.dt.truncate("1ms")) | (found == due.dt.round("1ms"))))
        .then(pl.lit(ROUNDED))
        .when(found < due)
        .then(pl.lit(STALE))
        .otherwise(pl.lit(ALTERED))
    )
