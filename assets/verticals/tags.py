"""vertical/tags: the verticals that posts and accounts belong to."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.transforms.verticals.thresholds import tag
from assets.verticals.roster import ROSTER
from assets.verticals.scores import SCORES
from assets.verticals.thresholds import THRESHOLDS
from resources.catalogues import load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec

TAGS = TableSpec.of(
    "vertical/tags",
    {
        **{name: SCORES.copied(name) for name in ("account_bucket", "item_kind", "item_id", "account_id")},
        "vertical": THRESHOLDS.copied("vertical"),
        "score": Column(pa.float64(), "Score for the vertical.", SCORES.sources("scores"), "attribute"),
        **{
            f"score_{bound}": Column(
                pa.float64(),
                f"{bound.title()} end of the 95 % interval of an account's score; null for a post.",
                SCORES.sources(f"scores_{bound}"),
                "attribute",
            )
            for bound in ("low", "high")
        },
        "threshold": THRESHOLDS.copied("threshold", "Threshold that the score reaches."),
    },
    ("item_id", "item_kind", "vertical"),
)


@asset(
    table=TAGS,
    deps=[["vertical", "scores"], ["vertical", "thresholds"], ["vertical", "roster"]],
    description="The verticals that posts and accounts belong to. One row per post or account and vertical that ships "
    "and whose score reaches the threshold.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def tags(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Tag the posts and accounts of a stale bucket."""

    def of_bucket(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        names = [vertical.name for vertical in load_verticals()]
        scored, limits = lake.scan_cached(SCORES, bucket).collect(), lake.scan(THRESHOLDS).collect()
        return tag(scored, limits, names, lake.scan(ROSTER).collect())

    stage = Stage(TAGS.name, (SCORES, THRESHOLDS, ROSTER), awaits=(THRESHOLDS, ROSTER))
    return refresh_table(context, lake, ledger, stage, TAGS, of_bucket)
