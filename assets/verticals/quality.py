"""vertical/quality, vertical/methods, vertical/mistakes: how good the tags of each method are, on labelled items."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.framework.pictures import pictures
from assets.labels.issues import ISSUES
from assets.transforms.plots import Plot, reliability_plot
from assets.transforms.verticals import quality as measuring
from assets.transforms.verticals.audit import audit
from assets.transforms.verticals.thresholds import fit_each
from assets.verticals.held_out import HELD_OUT
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec

_RULE = "2"
_SOURCES = HELD_OUT.sources("probability", "is_member")
_METHOD = {name: HELD_OUT.copied(name) for name in ("method", "item_kind")}


def _figure(description: str, null: str = "null if it cannot be measured") -> Column:
    return Column(pa.float64(), f"{description}; {null}.", _SOURCES)


def _count(description: str) -> Column:
    return Column(pa.int64(), description, _SOURCES)


def _with_interval(name: str, description: str, interval: str) -> dict[str, Column]:
    return {
        name: _figure(description),
        f"{name}_low": _figure(f"Lower end of the 95 % interval of {name}: {interval}"),
        f"{name}_high": _figure(f"Upper end of the 95 % interval of {name}: {interval}"),
    }


_WILSON = "Wilson's, on as many independent items as the posts of its accounts are worth"
_BOOTSTRAP = "of 1,000 draws of whole accounts"
QUALITY = TableSpec.of(
    "vertical/quality",
    {
        **_METHOD,
        "vertical": HELD_OUT.copied("vertical"),
        "members": _count("Labelled members."),
        "non_members": _count("Labelled items that do not belong."),
        "called": _count("Labelled items that the method tags, by a rule fitted without their account."),
        "right": _count("Labelled members that the method tags."),
        "accounts": _count("Accounts of the labelled items."),
        **_with_interval("precision", "Share of tagged items that are members", _WILSON),
        **_with_interval("recall", "Share of members that are tagged", _WILSON),
        **_with_interval("f1", "F1 of the tag", _BOOTSTRAP),
        "effective_called": _figure("Independent items that the tagged items are worth"),
        "effective_members": _figure("Independent items that the members are worth"),
        "calibration_error": _figure("Mean distance of probabilities, by tenths, from the share of members"),
        "confused_with": Column(
            pa.string(), "Vertical that wrongly tagged items are most often members of; null without one.", _SOURCES
        ),
        "confused_items": _count("Number of those items."),
    },
    ("method", "item_kind", "vertical"),
    partitioned=False,
)
METHODS = TableSpec.of(
    "vertical/methods",
    {
        **_METHOD,
        "verticals": _count("Verticals with a labelled member."),
        "items": _count("Labelled items."),
        "accounts": _count("Accounts of the labelled items."),
        **_with_interval("macro_f1", "Mean of the F1 of these verticals", _BOOTSTRAP),
        **_with_interval("micro_f1", "F1 of all tags of these verticals together", _BOOTSTRAP),
        "calibration_error": _figure("Mean distance of probabilities, by tenths, from the share of members"),
        "label_errors": Column(
            pa.string(),
            "Macro F1 with and without the labels that label/issues doubts, and their share of the mistakes; null if "
            "no label is left.",
            ISSUES.sources("is_issue"),
        ),
    },
    ("method", "item_kind"),
    partitioned=False,
)
MISTAKES = TableSpec.of(
    "vertical/mistakes",
    {
        **_METHOD,
        "vertical": HELD_OUT.copied("vertical"),
        **{name: HELD_OUT.copied(name) for name in ("item_id", "account_id", "is_member", "probability")},
        "threshold": _figure("What a tag needs, fitted on all labels", "null with too few"),
        "rank": _count("1 for the item farthest on the wrong side, among those of its label."),
    },
    ("method", "item_kind", "vertical", "item_id"),
    partitioned=False,
)


def labelled_calls(lake: LakeResource) -> pl.DataFrame:
    """Return what each method says of labelled items: the ``calls`` of `assets.transforms.verticals.quality`."""
    return fit_each(lake.scan(HELD_OUT).drop_nulls("probability").collect())


def reliability_plots(held_out: pl.DataFrame) -> list[Plot]:
    """Return how far the probabilities of each method and kind of item hold, of rows of vertical/held_out."""
    tenths = measuring.reliability(held_out).partition_by("method", "item_kind", as_dict=True)
    plots = (reliability_plot(f"Calibration of {method} on {kind}s", rows) for (method, kind), rows in tenths.items())
    return [plot for plot in plots if plot is not None]


Rows = Callable[[pl.DataFrame, Sequence[str]], pl.DataFrame]


def _measured(spec: TableSpec, rows: Rows, description: str) -> AssetsDefinition:
    inputs = (HELD_OUT, ISSUES) if spec is METHODS else (HELD_OUT,)

    @asset(
        table=spec,
        code_version=_RULE,
        deps=[table.name.split("/") for table in inputs],
        description=description,
        owners=["team:data-science"],
        kinds={"delta", "numpy"},
    )
    def measured(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
        def compute(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
            names, calls = [vertical.name for vertical in load_verticals()], labelled_calls(lake)
            if spec is METHODS:
                doubted = lake.scan(ISSUES).filter("is_issue").select("item_kind", "item_id", "vertical").collect()
                said = audit(calls, doubted, names)
                tally.notes |= pictures(reliability_plots(calls)) | {
                    f"label_errors_{method}_{kind}": sentence for (method, kind), sentence in said.items()
                }
                return _with_audit(rows(calls, names), said)
            return rows(calls, names).select(spec.schema.names)

        version = f"{_RULE}/{catalogue_hash(load_verticals())}"
        stage = Stage(spec.name, inputs, version, partitioned=False)
        return refresh_table(context, lake, ledger, stage, spec, compute)

    return measured


def _with_audit(found: pl.DataFrame, said: Mapping[tuple[str, str], str]) -> pl.DataFrame:
    keys = found.select("method", "item_kind").iter_rows()
    column = pl.Series("label_errors", [said.get((method, kind)) for method, kind in keys], dtype=pl.String)
    return found.with_columns(column).select(METHODS.schema.names)


def audit_rows(lake: LakeResource) -> list[dict[str, str]]:
    """Return (method, item_kind, label_errors) of vertical/methods; none before a run has audited the labels."""
    found = lake.scan(METHODS).sort("item_kind", "method").collect()
    wanted = ("method", "item_kind", "label_errors")
    return [{name: row[name] for name in wanted} for row in found.iter_rows(named=True) if row.get("label_errors")]


ASSETS = [
    _measured(
        QUALITY,
        measuring.quality,
        "How good the tags are. One row per method, item kind and vertical with labels: precision, recall and F1 with "
        "intervals, calibration, and what the vertical is confused with. Every item is called by a rule that was "
        "fitted without its account.",
    ),
    _measured(
        METHODS,
        measuring.methods,
        "How good each method is over all verticals. One row per method and item kind: macro and micro F1 with "
        "intervals, calibration. label_errors says how much of the error is in labels that label/issues doubts.",
    ),
    _measured(
        MISTAKES,
        lambda found, _: measuring.mistakes(found),
        "The worst mistakes, to look at. Up to 20 rows per method, item kind, vertical and label: labelled items that "
        "the method is most sure of, and wrong.",
    ),
]
