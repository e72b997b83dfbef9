"""vertical/*: scores of posts and accounts for verticals, and the tags that follow."""

from threading import Lock

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels import GOLD
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.transforms.verticals import (
    ACCOUNT,
    POST,
    Vectors,
    by_vertical,
    fit_thresholds,
    score,
    score_accounts,
    tag,
)
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource

GROUP = "vertical"
_ITEM_COLUMNS = [
    ("account_bucket", pa.int32()),
    ("item_kind", pa.string()),
    ("item_id", pa.string()),
    ("account_id", pa.string()),
]
SCORES = TableSpec(
    "vertical/scores",
    pa.schema(
        [*_ITEM_COLUMNS, ("scores", pa.list_(pa.float64())), ("text_hash", pa.string()), ("recipe", pa.string())]
    ),
    ("item_id", "item_kind"),
)
"""``scores`` are in the catalogue's order; ``by_vertical`` names them. ``text_hash`` is a hash of a post's text, and
``recipe`` names the rules and models. A post with unchanged values keeps its scores."""
TAGS = TableSpec(
    "vertical/tags",
    pa.schema(
        [*_ITEM_COLUMNS, ("vertical", pa.string()), ("score", pa.float64()), ("threshold", pa.float64())],
    ),
    ("item_id", "item_kind", "vertical"),
)
THRESHOLDS = TableSpec(
    "vertical/thresholds",
    pa.schema(
        [
            ("item_kind", pa.string()),
            ("vertical", pa.string()),
            ("threshold", pa.float64()),
            ("members", pa.int64()),
            ("non_members", pa.int64()),
            ("fitted", pa.bool_()),
            ("f1", pa.float64()),
        ]
    ),
    ("vertical", "item_kind"),
    partitioned=False,
)


@asset(
    key=["vertical", "scores"],
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="How near posts and accounts are to the verticals. One row per post or account: a score per vertical "
    "of the catalogue, from the vectors of its text and of the vertical's descriptions. No labels are needed.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def scores(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> MaterializeResult[None]:
    """Score the posts and accounts of a stale bucket. Only the vectors of new and changed texts are read."""
    verticals, model = load_verticals(), embedder.model()
    recipe = fingerprint(["5", catalogue_hash(verticals), model.name])
    lock, described = Lock(), dict[str, Vectors]()

    def of_bucket(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        columns = ["account_bucket", "account_id", "post_id", "text_hash", "content_hash"]
        recipes = pl.concat_str(pl.lit(recipe), "recipe", separator="/")
        chunks = lake.scan_cached(CHUNKS, bucket).select(*columns, recipe=recipes).collect()
        posts = chunks.rename({"post_id": "item_id"}).unique("item_id")
        stored = current.select(SCORES.schema.names).filter(pl.col("item_kind") == POST)
        unchanged = ["account_bucket", "account_id", "item_id", "text_hash", "recipe"]
        kept = stored.join(posts, on=unchanged, how="semi").drop("recipe")
        fresh = chunks.join(kept, left_on="post_id", right_on="item_id", how="anti")
        tally.counts["posts_scored"] += fresh["post_id"].n_unique()
        scored = kept
        if fresh.height:
            with lock:  # embedded once a run, and only if a post has to be scored
                if not described:
                    described.update({found.name: model.embed_queries(found.descriptions) for found in verticals})
            rows, vectors = with_vectors(lake, bucket or 0, fresh, model)
            is_read = pl.Series(vectors.any(axis=1), dtype=pl.Boolean)
            scored = pl.concat([kept, score(rows.filter(is_read), vectors[is_read], described).select(kept.columns)])
        return pl.concat([scored, score_accounts(scored)]).join(
            posts.select("item_id", "recipe"), on="item_id", how="left"
        )

    stage = Stage(SCORES.name, (CHUNKS, VECTORS), recipe)
    return refresh_table(context, lake, ledger, stage, SCORES, of_bucket)


@asset(
    key=["vertical", "thresholds"],
    deps=[["vertical", "scores"], ["label", "gold"]],
    group_name=GROUP,
    description="The score from which a vertical's tag is given. One row per item kind (post or account) and vertical: "
    "the threshold fitted on label/gold with its F1, or the catalogue's default where labels are too few.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def thresholds(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> MaterializeResult[None]:
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


@asset(
    key=["vertical", "tags"],
    deps=[["vertical", "scores"], ["vertical", "thresholds"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="The verticals that posts and accounts belong to. One row per post or account and vertical whose score "
    "reaches the threshold.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def tags(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> MaterializeResult[None]:
    """Tag the posts and accounts of a stale bucket."""

    def of_bucket(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        names = [vertical.name for vertical in load_verticals()]
        return tag(lake.scan_cached(SCORES, bucket).collect(), lake.scan(THRESHOLDS).collect(), names)

    stage = Stage(TAGS.name, (SCORES, THRESHOLDS))
    return refresh_table(context, lake, ledger, stage, TAGS, of_bucket)


ASSETS = [scores, thresholds, tags]
