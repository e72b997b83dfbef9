"""label/next_to_label: the posts whose labels help most, for the labelling page and for people who export them."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition

from assets.corpus import CHUNKS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels.gold import GOLD
from assets.labels.votes import VOTES
from assets.transforms.labels.queue import candidates, with_reasons
from assets.transforms.labels.votes import disputed, newest
from assets.transforms.verticals.scoring import POST
from assets.verticals.scores import SCORES
from assets.verticals.thresholds import THRESHOLDS
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint

_RULE = "1"
_MOST = 50
"""Posts of a bucket per vertical, language and reason."""
_OF_VOTES = VOTES.sources("voter", "is_member")
NEXT_TO_LABEL = TableSpec.of(
    "label/next_to_label",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "account_id": CHUNKS.copied("account_id"),
        "item_id": CHUNKS.copied("post_id", "Id of the post."),
        "vertical": THRESHOLDS.copied("vertical"),
        "language": CHUNKS.copied("language", "Language of the post."),
        "reason": Column(
            pa.string(),
            "One of: uncertain (nobody labelled it, its score is near the threshold), disputed (the votes are split "
            "evenly), overlap (a second annotator should label it too), control (its label is sure, and tests the "
            "annotator).",
            _OF_VOTES,
        ),
        "distance": Column(
            pa.float64(), "Distance of its score from the threshold; 0 is the most uncertain.",
            SCORES.sources("scores") + THRESHOLDS.sources("threshold"), "attribute",
        ),
        "voters": Column(pa.list_(pa.string()), "Who labelled it already.", VOTES.sources("voter")),
    },
    ("vertical", "item_id"),
)  # fmt: skip


@asset(
    table=NEXT_TO_LABEL,
    code_version=_RULE,
    deps=[
        *(["vertical", name] for name in ("scores", "thresholds")),
        *(["label", name] for name in ("votes", "gold")),
        ["corpus", "cippus_text"],
    ],
    description="Posts to label next. One row per vertical and post: of each bucket and language those nearest to the "
    "threshold, evenly split votes, one in ten labelled posts for a second annotator, and controls.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def next_to_label(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Choose the posts of a stale bucket. Memory: the scores of one bucket's posts."""
    verticals = load_verticals()
    names = [vertical.name for vertical in verticals]

    def choose(bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        fitted = lake.scan(THRESHOLDS).filter(pl.col("item_kind") == POST).select("vertical", "method", "threshold")
        rules = {name: (method, threshold) for name, method, threshold in fitted.collect().iter_rows()}
        languages = (
            lake.scan_cached(CHUNKS, bucket)
            .select(item_id="post_id", language="language")
            .unique("item_id", keep="any")
        )
        of_posts = (pl.col("item_kind") == POST) & (pl.col("scores").list.len() == len(names))
        scored = lake.scan_cached(SCORES, bucket).filter(of_posts).select("item_id", "account_id", "method", "scores")
        posts = scored.join(languages, on="item_id").collect()
        found = candidates(posts, _labelled(lake), rules, names, _MOST)
        tally.counts.update(dict(found["reason"].value_counts().iter_rows()))
        return found.with_columns(pl.lit(bucket, pl.Int32).alias("account_bucket"))

    version = fingerprint([_RULE, catalogue_hash(verticals)])
    stage = Stage(NEXT_TO_LABEL.name, (SCORES, THRESHOLDS, VOTES, GOLD, CHUNKS), version, awaits=(THRESHOLDS,))
    return refresh_table(context, lake, ledger, stage, NEXT_TO_LABEL, choose)


def _labelled(lake: LakeResource) -> pl.DataFrame:
    """Return (item_id, vertical, voters, reason) of the posts that people labelled."""
    of_posts = pl.col("item_kind") == POST
    votes = newest(lake.scan(VOTES).filter(of_posts).collect())
    is_sure = pl.col("is_reviewed") | ((pl.col("votes") > 1) & (pl.col("agreement") == 1))
    sure = lake.scan(GOLD).filter(of_posts & is_sure).select("item_id", "vertical").collect()
    return with_reasons(votes, disputed(votes), sure)


ASSETS: list[AssetsDefinition] = [next_to_label]
