"""vertical/scores: how near posts and accounts are to the verticals."""

from threading import Lock

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.transforms.verticals.scoring import POST, Vectors, score, score_accounts
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource

_SCORING = "5"
_MADE_OF = CHUNKS.sources("text") + VECTORS.sources("vector")
SCORES = TableSpec.of(
    "vertical/scores",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "item_kind": Column(pa.string(), "What is scored: post or account."),
        "item_id": Column(pa.string(), "Id of the post or account.", CHUNKS.sources("post_id", "account_id"), "id"),
        "account_id": CHUNKS.copied("account_id"),
        "scores": Column(
            pa.list_(pa.float64()), "A score per vertical, in the catalogue's order.", _MADE_OF, "attribute"
        ),
        "text_hash": CHUNKS.copied("text_hash"),
        "recipe": Column(
            pa.string(),
            "Rules and models. A post with an unchanged recipe and text keeps its scores.",
            CHUNKS.sources("recipe"),
        ),
    },
    ("item_id", "item_kind"),
)
"""``by_vertical`` names the scores."""


@asset(
    table=SCORES,
    code_version=_SCORING,
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    description="How near posts and accounts are to the verticals. One row per post or account: a score per vertical "
    "of the catalogue, from the vectors of its text and of the vertical's descriptions. No labels are needed.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def scores(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Score the posts and accounts of a stale bucket. Only the vectors of new and changed texts are read."""
    verticals, model = load_verticals(), embedder.model()
    recipe = fingerprint([_SCORING, catalogue_hash(verticals), model.name])
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
