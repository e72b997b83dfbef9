"""vertical/thresholds: the score from which a tag is given."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.transforms.verticals.scoring import ACCOUNT, POST
from assets.transforms.verticals.taggers.cascade import CASCADE
from assets.transforms.verticals.taggers.choice import choose
from assets.transforms.verticals.thresholds import fit_each, thresholds_of
from assets.verticals.held_out import HELD_OUT
from assets.verticals.taggers import TAGGERS, current_methods
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec

THRESHOLDS = TableSpec.of(
    "vertical/thresholds",
    {
        "item_kind": Column(pa.string(), "Kind of item that the threshold is for: post or account."),
        "vertical": Column(pa.string(), "Name of the vertical."),
        "method": Column(
            pa.string(),
            "Method whose scores are tagged: zero-shot, unless another is better beyond chance on held-out accounts.",
            HELD_OUT.sources("probability", "is_member"),
        ),
        "threshold": Column(pa.float64(), "Least probability of a tag.", HELD_OUT.sources("probability", "is_member")),
        "members": Column(pa.int64(), "Labelled members.", HELD_OUT.sources("is_member")),
        "non_members": Column(pa.int64(), "Labelled items that do not belong.", HELD_OUT.sources("is_member")),
        "fitted": Column(pa.bool_(), "Whether it is fitted on labels; else one half.", HELD_OUT.sources("is_member")),
        "f1": Column(
            pa.float64(),
            "F1 of the fitted rule over five folds; null for a default.",
            HELD_OUT.sources("probability", "is_member"),
        ),
    },
    ("vertical", "item_kind"),
    partitioned=False,
)


@asset(
    table=THRESHOLDS,
    deps=[["vertical", "held_out"]],
    description="The score from which a vertical's tag is given. One row per item kind (post or account) and vertical: "
    "the method, and the threshold fitted on its held-out probabilities with its F1, or one half where labels are few.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def thresholds(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Choose a method by kind of item, and fit the thresholds on probabilities of accounts that it did not see."""
    verticals = load_verticals()

    def of_all(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        calls, methods = (
            fit_each(lake.scan(HELD_OUT).drop_nulls("probability").collect()),
            [*current_methods(), CASCADE],
        )
        chosen = {kind: choose(calls.filter(item_kind=kind), methods) for kind in (POST, ACCOUNT)}
        fitted = thresholds_of(calls, [vertical.name for vertical in verticals], chosen, methods[0])
        tally.counts["fitted"] = int(fitted["fitted"].sum())
        return fitted

    stage = Stage(THRESHOLDS.name, (HELD_OUT,), catalogue_hash(verticals), partitioned=False, awaits=(TAGGERS,))
    return refresh_table(context, lake, ledger, stage, THRESHOLDS, of_all)
