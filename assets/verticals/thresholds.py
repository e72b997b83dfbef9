"""vertical/thresholds: the score from which a tag is given."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels.gold import GOLD
from assets.transforms.verticals.scoring import ACCOUNT, POST, by_vertical
from assets.transforms.verticals.thresholds import fit_thresholds
from assets.verticals.scores import SCORES
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec

THRESHOLDS = TableSpec.of(
    "vertical/thresholds",
    {
        "item_kind": Column(pa.string(), "Kind of item that the threshold is for: post or account."),
        "vertical": Column(pa.string(), "Name of the vertical."),
        "threshold": Column(
            pa.float64(), "Least score of a tag.", SCORES.sources("scores") + GOLD.sources("is_member")
        ),
        "members": Column(pa.int64(), "Labelled members.", GOLD.sources("is_member")),
        "non_members": Column(pa.int64(), "Labelled items that do not belong.", GOLD.sources("is_member")),
        "fitted": Column(pa.bool_(), "Whether it is fitted on labels; else the default.", GOLD.sources("is_member")),
        "f1": Column(
            pa.float64(),
            "F1 of the fitted rule over five folds; null for a default.",
            SCORES.sources("scores") + GOLD.sources("is_member"),
        ),
    },
    ("vertical", "item_kind"),
    partitioned=False,
)


@asset(
    table=THRESHOLDS,
    deps=[["vertical", "scores"], ["label", "gold"]],
    description="The score from which a vertical's tag is given. One row per item kind (post or account) and vertical: "
    "the threshold fitted on label/gold with its F1, or the catalogue's default where labels are too few.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def thresholds(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Fit the thresholds. Only the scores of labelled items are read."""
    verticals = load_verticals()

    def of_all(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        labels = lake.scan(GOLD).select("item_kind", "item_id", "vertical", "is_member").collect()
        of_labelled = lake.scan(SCORES).filter(pl.col("item_id").is_in(labels["item_id"].unique().implode()))
        scored = by_vertical(of_labelled, [vertical.name for vertical in verticals]).collect()
        labelled = labels.join(scored, on=["item_kind", "item_id", "vertical"])
        fitted = fit_thresholds(labelled, {v.name: v.default_threshold for v in verticals}, [POST, ACCOUNT])
        tally.counts["fitted"] = int(fitted["fitted"].sum())
        return fitted

    stage = Stage(THRESHOLDS.name, (GOLD, SCORES), catalogue_hash(verticals), partitioned=False)
    return refresh_table(context, lake, ledger, stage, THRESHOLDS, of_all)
