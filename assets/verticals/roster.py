"""vertical/roster and vertical/roster_history: which verticals ship, why, and since when."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.framework.pictures import pictures
from assets.labels.gold import GOLD
from assets.transforms.plots import Plot, interval_plot
from assets.transforms.source.schema import TIMESTAMP
from assets.transforms.verticals.roster import DROP, NEEDS_LABELS, SHIP, Bar, Override
from assets.transforms.verticals.rosters import changes, rosters
from assets.verticals.quality import QUALITY
from assets.verticals.thresholds import THRESHOLDS
from resources.catalogues import load_verticals, roster_hash
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint

_RULE = "1"
_SHOWN_DIGITS = 12
_MEASURED = QUALITY.sources("precision", "recall", "effective_called", "effective_members")


def _decided(description: str, type_: pa.DataType | None = None) -> Column:
    return Column(type_ or pa.string(), description, _MEASURED)


ROSTER = TableSpec.of(
    "vertical/roster",
    {
        "item_kind": THRESHOLDS.copied("item_kind"),
        "vertical": THRESHOLDS.copied("vertical"),
        "status": _decided("Decision: ship, drop or needs labels. Only a vertical that ships has tags."),
        "earned": _decided("What the labels alone say: ship, drop or needs labels."),
        "reason": _decided("Why, in a sentence, with the figures."),
        "method": QUALITY.copied("method", "Method of tagging that was measured; null without labels."),
        **{
            name: QUALITY.copied(name)
            for share in ("precision", "recall")
            for name in (share, f"{share}_low", f"{share}_high")
        },
        "bar_precision": Column(pa.float64(), "Precision that it must hold."),
        "bar_recall": Column(pa.float64(), "Recall that it must hold."),
        "more_positives": _decided(
            "Further labelled members that would decide it with probability .8; null if decided, or too near its bar.",
            pa.int64(),
        ),
        "p_value": _decided("Evidence against it: small if precision and recall are above the bar.", pa.float64()),
        "level": _decided(
            "P value that it must not exceed to enter: 0.05 shared by all verticals. 0 if it is in already.",
            pa.float64(),
        ),
        "override_decision": Column(pa.string(), "What a person decided instead, in the catalogue; null without."),
        "override_date": Column(pa.date32(), "When the person decided."),
        "override_reason": Column(pa.string(), "Why the person decided so."),
        "label_version": Column(pa.string(), "Hash of label/gold at the decision.", GOLD.sources("label_version")),
        "catalogue_version": Column(pa.string(), "Hash of the catalogue's bars and overrides at the decision."),
    },
    ("item_kind", "vertical"),
    partitioned=False,
)
_KEPT = ("item_kind", "vertical", "status", "earned", "reason", "method", "label_version", "catalogue_version")
HISTORY = TableSpec.of(
    "vertical/roster_history",
    {
        "decided_at": Column(TIMESTAMP, "Time of the run that decided."),
        **{name: ROSTER.copied(name) for name in _KEPT},
    },
    ("item_kind", "vertical", "decided_at"),
    partitioned=False,
)


def bars() -> dict[str, Bar]:
    """Return the bars of the catalogue, by vertical."""
    return {found.name: Bar(found.bar.precision, found.bar.recall) for found in load_verticals()}


def overrides() -> dict[str, Override]:
    """Return what people decided in the catalogue, by vertical."""
    given = {found.name: found.override for found in load_verticals() if found.override is not None}
    return {name: Override(one.decision, one.date, " ".join(one.reason.split())) for name, one in given.items()}


def roster_rows(lake: LakeResource) -> list[dict[str, Any]]:
    """Return the roster with its measured quality, accounts first, then by status: what ships, what is open."""
    added = ["members", "f1", "f1_low", "f1_high", "calibration_error", "confused_with", "confused_items"]
    measured = lake.scan(QUALITY).select("method", "item_kind", "vertical", *added)
    rows = lake.scan(ROSTER).join(measured, on=["method", "item_kind", "vertical"], how="left")
    place = pl.col("status").replace_strict({SHIP: 0, NEEDS_LABELS: 1, DROP: 2}, return_dtype=pl.Int8)
    return rows.sort("item_kind", place, "vertical").collect().to_dicts()


def bar_plots(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Return the intervals of precision and of recall of a roster's rows of one kind of item, with their bars."""
    titles, found = {vertical.name: vertical.title for vertical in load_verticals()}, []
    for name in ("precision", "recall"):
        ends = (f"{name}_low", name, f"{name}_high", f"bar_{name}")
        marks = [
            (titles.get(row["vertical"], row["vertical"]), *(row[end] for end in ends))
            for row in rows
            if row[name] is not None
        ]
        plot = interval_plot(f"{name.capitalize()} of {rows[0]['item_kind'] if rows else 'item'}s, "
                             "with its 95 % interval and its bar", marks)  # fmt: skip
        if plot is not None:
            found.append(plot)
    return found


@asset(
    table=ROSTER,
    code_version=_RULE,
    deps=[["vertical", "quality"], ["vertical", "thresholds"], ["label", "gold"]],
    description="Which verticals ship. One row per item kind (post or account) and vertical: ship, drop or needs "
    "labels, with the sentence that says why, the measured precision and recall, and the bar. A vertical ships when "
    "its labels prove it above its bar, or a person says so in the catalogue.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def roster(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Decide every vertical again after labels, scores or the catalogue changed."""
    version = roster_hash(load_verticals())

    def decide(_bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        tagging = lake.scan(THRESHOLDS).select("item_kind", "vertical", "method")
        measured = lake.scan(QUALITY).join(tagging, on=["item_kind", "vertical", "method"], how="semi").collect()
        rows = rosters(measured, bars(), overrides(), current)
        tally.counts.update({f"verticals_{status.replace(' ', '_')}": 0 for status in ("ship", "drop", "needs labels")})
        tally.counts.update(f"verticals_{status.replace(' ', '_')}" for status in rows["status"])
        tally.notes |= pictures(plot for part in rows.partition_by("item_kind") for plot in bar_plots(part.to_dicts()))
        contents = sorted((bucket, found.fingerprint) for bucket, found in lake.contents(GOLD).items())
        labels = fingerprint([f"{bucket}:{part}" for bucket, part in contents])[:_SHOWN_DIGITS]
        return rows.with_columns(label_version=pl.lit(labels), catalogue_version=pl.lit(version[:_SHOWN_DIGITS]))

    stage = Stage(ROSTER.name, (QUALITY, THRESHOLDS, GOLD), f"{_RULE}/{version}", partitioned=False)
    return refresh_table(context, lake, ledger, stage, ROSTER, decide)


@asset(
    table=HISTORY,
    code_version=_RULE,
    deps=[["vertical", "roster"]],
    description="How the roster came about. One row per item kind, vertical and run in which its decision, method, "
    "labels or catalogue changed.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def roster_history(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Add a row for every change since the last run."""

    def add(_bucket: int | None, current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        known = current.select(HISTORY.schema.names)
        fresh = changes(lake.scan(ROSTER).select(_KEPT).collect(), known)
        now = pl.lit(dt.datetime.now(dt.UTC)).cast(known.schema["decided_at"])
        return pl.concat([known, fresh.with_columns(decided_at=now).select(known.columns)])

    stage = Stage(HISTORY.name, (ROSTER,), _RULE, partitioned=False, awaits=(ROSTER,))
    return refresh_table(context, lake, ledger, stage, HISTORY, add)


ASSETS = [roster, roster_history]
