"""Checks of vertical/*."""

from itertools import product

import polars as pl

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, has_vector
from assets.labels.gold import GOLD
from assets.transforms.verticals.scoring import ACCOUNT, POST, by_vertical
from assets.transforms.verticals.taggers.zero_shot import ZERO_SHOT
from assets.verticals.scores import SCORES
from assets.verticals.taggers import HELD_OUT, TAGGERS, fitted_taggers
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from pipelines.checks.declaration import check, count, differences
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.table import LakeResource
from resources.errors import InputError
from resources.llm.embedder import EmbedderResource


def _catalogue() -> str:
    return catalogue_hash(load_verticals())


def _scoring(embedder: EmbedderResource) -> str:
    return f"{_catalogue()} {embedder.model().name}"


@check(
    "vertical/scores",
    "items not scored, foreign, repeated or with impossible scores",
    reads=(CHUNKS, VECTORS, TAGGERS, SCORES),
    version=_scoring,
    by_bucket=True,
    guards=True,
)
def every_item_scored(bucket: int, lake: LakeResource, embedder: EmbedderResource) -> int:
    """Every post and account of the corpus has one row per method, with a probability or null for every vertical.

    Except a post that the embedding model cannot read, and an account with no other posts.
    """
    verticals = len(load_verticals())
    is_possible = pl.element().is_between(0, 1).fill_null(value=True)  # null is an abstention
    possible, scores = pl.col("scores").list.eval(is_possible).list.sum(), pl.col("scores").list.len()
    wrong = lake.scan_cached(SCORES, bucket).filter(~(possible.eq_missing(verticals) & scores.eq_missing(verticals)))
    methods = lake.scan(TAGGERS).select("method")
    vectors = lake.scan_cached(VECTORS, bucket).filter(pl.col("model") == embedder.model().name)
    unreadable = vectors.filter(~has_vector()).select("content_hash")
    chunks = lake.scan_cached(CHUNKS, bucket).join(unreadable, on="content_hash", how="anti")
    posts = chunks.select(item_kind=pl.lit(POST), item_id="post_id")
    accounts = chunks.select(item_kind=pl.lit(ACCOUNT), item_id="account_id")
    expected = pl.concat([posts, accounts]).unique().join(methods, how="cross")
    return count(wrong) + differences(expected, lake.scan_cached(SCORES, bucket))


@check("vertical/taggers", "taggers that cannot tag", reads=(TAGGERS,), version=_catalogue, guards=True)
def taggers_usable(lake: LakeResource) -> int:
    """Every method's parameters can be read, and are for the verticals of the catalogue. Zero-shot is always there."""
    try:
        found = fitted_taggers(lake)
    except (InputError, ValueError, KeyError, OSError):
        return 1
    verticals = len(load_verticals())
    return (ZERO_SHOT not in found) + sum(len(tagger.covers) != verticals for tagger, _ in found.values())


@check(
    "vertical/held_out",
    "rows without label, repeated, or with an impossible probability",
    reads=(GOLD, HELD_OUT),
    guards=True,
)
def held_out_are_labels(lake: LakeResource) -> int:
    """Every row has its label's value, and a probability or null. Labels of posts outside the corpus have no row."""
    rows = lake.scan(HELD_OUT)
    labels = lake.scan(GOLD).select("item_kind", "item_id", "account_id", "vertical", "is_member")
    foreign = rows.join(labels, on=labels.collect_schema().names(), how="anti")
    is_possible = pl.col("probability").is_between(0, 1).fill_null(value=True)
    return count(foreign) + count(rows.filter(~is_possible | pl.struct(HELD_OUT.key).is_duplicated()))


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
    joined = scores.join(lake.scan(THRESHOLDS), on=["vertical", "item_kind", "method"])
    due = joined.filter(pl.col("score") >= pl.col("threshold"))
    return differences(due.select("item_kind", "item_id", "vertical", "score"), lake.scan_cached(TAGS, bucket))
