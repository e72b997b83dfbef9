"""Checks of vertical/*."""

from itertools import product

import polars as pl

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, has_vector
from assets.transforms.verticals.scoring import ACCOUNT, POST, by_vertical
from assets.verticals.scores import SCORES
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from pipelines.checks.declaration import check, count, differences
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource


def _catalogue() -> str:
    return catalogue_hash(load_verticals())


def _scoring(embedder: EmbedderResource) -> str:
    return f"{_catalogue()} {embedder.model().name}"


@check(
    "vertical/scores",
    "items not scored, foreign, repeated or with impossible scores",
    reads=(CHUNKS, VECTORS, SCORES),
    version=_scoring,
    by_bucket=True,
    guards=True,
)
def every_item_scored(bucket: int, lake: LakeResource, embedder: EmbedderResource) -> int:
    """Every post and account of the corpus has one valid score for every vertical.

    Except a post that the embedding model cannot read, and an account with no other posts.
    """
    verticals = len(load_verticals())
    furthest = verticals**0.5  # no number lies further from the mean of n numbers than √(n − 1) standard deviations
    is_possible = pl.element().is_between(-furthest, furthest).fill_null(value=False)
    possible, scores = pl.col("scores").list.eval(is_possible).list.sum(), pl.col("scores").list.len()
    wrong = lake.scan_cached(SCORES, bucket).filter(~(possible.eq_missing(verticals) & scores.eq_missing(verticals)))
    vectors = lake.scan_cached(VECTORS, bucket).filter(pl.col("model") == embedder.model().name)
    unreadable = vectors.filter(~has_vector()).select("content_hash")
    chunks = lake.scan_cached(CHUNKS, bucket).join(unreadable, on="content_hash", how="anti")
    posts = chunks.select(item_kind=pl.lit(POST), item_id="post_id")
    accounts = chunks.select(item_kind=pl.lit(ACCOUNT), item_id="account_id")
    return count(wrong) + differences(pl.concat([posts, accounts]).unique(), lake.scan_cached(SCORES, bucket))


@check(
    "vertical/thresholds",
    "thresholds missing, foreign or repeated",
    reads=(THRESHOLDS,),
    version=_catalogue,
    guards=True,
)
def every_vertical_has_threshold(lake: LakeResource) -> int:
    """Every vertical has one finite threshold per kind of item."""
    expected = product([vertical.name for vertical in load_verticals()], [POST, ACCOUNT])
    schema = {"vertical": pl.String, "item_kind": pl.String}
    finite = lake.scan(THRESHOLDS).filter(pl.col("threshold").is_finite())
    return differences(pl.LazyFrame(list(expected), schema=schema, orient="row"), finite)


@check(
    "vertical/tags",
    "tags missing or below the threshold",
    reads=(SCORES, THRESHOLDS, TAGS),
    version=_catalogue,
    by_bucket=True,
    guards=True,
)
def tags_reach_thresholds(bucket: int, lake: LakeResource) -> int:
    """An item is tagged if and only if its score reaches the current threshold."""
    scores = by_vertical(lake.scan_cached(SCORES, bucket), [vertical.name for vertical in load_verticals()])
    joined = scores.join(lake.scan(THRESHOLDS), on=["vertical", "item_kind"])
    due = joined.filter(pl.col("score") >= pl.col("threshold"))
    return differences(due.select("item_kind", "item_id", "vertical", "score"), lake.scan_cached(TAGS, bucket))
