"""The roster as a table: a decision per kind of item and vertical, and what changed since the last one."""

from collections.abc import Mapping

import polars as pl

from assets.transforms.verticals.intervals import Share
from assets.transforms.verticals.roster import SHIP, Bar, Measured, Override, decide

KINDS = ("post", "account")
_SHARES = [f"{name}{end}" for name in ("precision", "recall") for end in ("", "_low", "_high")]
_DECIDED = {
    "item_kind": pl.String,
    "vertical": pl.String,
    "status": pl.String,
    "earned": pl.String,
    "reason": pl.String,
    "bar_precision": pl.Float64,
    "bar_recall": pl.Float64,
    "more_positives": pl.Int64,
    "p_value": pl.Float64,
    "level": pl.Float64,
    "override_decision": pl.String,
    "override_date": pl.Date,
    "override_reason": pl.String,
}


def rosters(
    measured: pl.DataFrame, bars: Mapping[str, Bar], overrides: Mapping[str, Override], before: pl.DataFrame
) -> pl.DataFrame:
    """Return a row per item kind and vertical of ``bars``.

    ``measured`` are rows of vertical/quality of the method that tags. ``before`` is the last roster, whose earned
    verticals stay while they hold their bar.
    """
    rows: list[tuple[object, ...]] = []
    for kind in KINDS:
        found = {
            row["vertical"]: Measured(
                Share(row["right"], row["called"], row["effective_called"]),
                Share(row["right"], row["members"], row["effective_members"]),
            )
            for row in measured.filter(item_kind=kind).iter_rows(named=True)
        }
        shipped = before.filter(item_kind=kind, earned=SHIP)["vertical"].to_list()
        for one in decide(found, bars, shipped, overrides):
            bar, said = bars[one.vertical], one.override
            override = (None, None, None) if said is None else (said.decision, said.date, said.reason)
            figures = (bar.precision, bar.recall, one.more_positives, one.p_value, one.level)
            rows.append((kind, one.vertical, one.status, one.earned, one.reason, *figures, *override))
    made = pl.DataFrame(rows, schema=_DECIDED, orient="row")
    shown = measured.select("item_kind", "vertical", "method", *_SHARES)
    return made.join(shown, on=["item_kind", "vertical"], how="left")


def changes(roster: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a roster that differ from the last of their item kind and vertical in ``history``.

    They differ by their status, what the labels say, method, labels or catalogue. A vertical that left the catalogue
    has no row.
    """
    key = ["item_kind", "vertical"]
    compared = [*key, "status", "earned", "method", "label_version", "catalogue_version"]
    last = history.sort("decided_at").group_by(key, maintain_order=True).last()
    return roster.join(last.select(compared), on=compared, how="anti", nulls_equal=True)
