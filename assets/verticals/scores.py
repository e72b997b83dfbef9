"""vertical/scores: how probable it is that posts and accounts belong to the verticals."""

from threading import Lock

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.transforms.verticals.accounts import score_accounts
from assets.transforms.verticals.scoring import POST, score
from assets.transforms.verticals.taggers.cascade import CASCADE
from assets.transforms.verticals.taggers.features import Vectors, features
from assets.transforms.verticals.taggers.interface import Tagger
from assets.transforms.verticals.taggers.methods import STANDING
from assets.verticals.cascade import cascade_scores, cascade_tagger
from assets.verticals.model_tags import MODEL_TAGS
from assets.verticals.taggers import TAGGERS, described, fitted_taggers
from assets.verticals.thresholds import THRESHOLDS
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource

_SCORING = "7"
_MADE_OF = CHUNKS.sources("text") + VECTORS.sources("vector") + TAGGERS.sources("parameters")
SCORES = TableSpec.of(
    "vertical/scores",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "item_kind": Column(pa.string(), "What is scored: post or account."),
        "item_id": Column(pa.string(), "Id of the post or account.", CHUNKS.sources("post_id", "account_id"), "id"),
        "account_id": CHUNKS.copied("account_id"),
        "method": TAGGERS.copied("method", "Method that gives the scores."),
        "scores": Column(
            pa.list_(pa.float64()),
            "Calibrated probability per vertical, in the catalogue's order; null where the method abstains.",
            _MADE_OF,
            "attribute",
        ),
        **{
            f"scores_{bound}": Column(
                pa.list_(pa.float64()),
                f"{bound.title()} end of the 95 % interval of each probability of an account; null for a post.",
                _MADE_OF + CHUNKS.sources("posted_at"),
                "attribute",
            )
            for bound in ("low", "high")
        },
        "text_hash": CHUNKS.copied("text_hash"),
        "recipe": Column(
            pa.string(),
            "Rules and models. A post with an unchanged recipe and text keeps its scores.",
            CHUNKS.sources("recipe"),
        ),
    },
    ("item_id", "item_kind", "method"),
)
"""``by_vertical`` names the scores."""


def scoring_methods(lake: LakeResource) -> list[str]:
    """Return the fitted local methods that score posts: all but the candidates that do not tag."""
    tagging = set(lake.scan(THRESHOLDS).select("method").unique().collect()["method"])
    fitted = lake.scan(TAGGERS).select("method").collect()["method"]
    return sorted(name for name in fitted if name in STANDING or name in tagging)


@asset(
    table=SCORES,
    code_version=_SCORING,
    deps=[
        *(["corpus", "cippus_text"], ["embedding", "cippus_text"]),
        *(["vertical", "taggers"], ["vertical", "model_tags"], ["vertical", "thresholds"]),
    ],
    description="How probable it is that posts and accounts belong to the verticals. One row per post or account and "
    "method: a probability per vertical of the catalogue, from the vectors of its text. No labels are needed. A "
    "candidate has rows only while it tags.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def scores(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Score the posts and accounts of a stale bucket. Only the vectors of new and changed texts are read."""
    verticals, model = load_verticals(), embedder.model()
    scoring, cascade = scoring_methods(lake), cascade_tagger(lake)
    rules = fingerprint(
        [_SCORING, catalogue_hash(verticals), model.name, *(name for name in scoring if name not in STANDING)]
    )
    lock, descriptions, taggers = Lock(), dict[str, Vectors](), dict[str, tuple[Tagger, str]]()

    def of_bucket(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        with lock:
            if not taggers:
                taggers.update((name, found) for name, found in fitted_taggers(lake).items() if name in scoring)
        recipe = fingerprint([rules, *(version for _, version in taggers.values())])
        own = ["account_bucket", "account_id", "post_id", "text_hash"]
        columns = [*own, "posted_at", "chunk_no", "content_hash", "text_language"]
        recipes = pl.concat_str(pl.lit(recipe), "recipe", separator="/")
        chunks = lake.scan_cached(CHUNKS, bucket).select(*columns, recipe=recipes).collect()
        posts = chunks.rename({"post_id": "item_id"}).unique("item_id")
        stored = current.select(SCORES.schema.names).filter(pl.col("item_kind") == POST, pl.col("method") != CASCADE)
        unchanged = ["account_bucket", "account_id", "item_id", "text_hash", "recipe"]
        kept = stored.join(posts, on=unchanged, how="semi").drop("recipe")
        fresh = chunks.join(kept, left_on="post_id", right_on="item_id", how="anti")
        tally.counts["posts_scored"] += fresh["post_id"].n_unique()
        scored = kept
        if fresh.height:
            with lock:  # read once a run, and only if a post has to be scored
                if not descriptions:
                    descriptions.update(described(lake))
            rows, vectors = with_vectors(lake, bucket or 0, fresh, model)
            is_read = vectors.any(axis=1)
            found, posts_read = features(
                rows.filter(pl.Series(is_read, dtype=pl.Boolean)), vectors[is_read], descriptions
            )
            made = score(found, posts_read, {name: tagger for name, (tagger, _) in taggers.items()})
            scored = pl.concat([kept, made.select(kept.columns)])
        if cascade is not None and scored.height:
            by_model = cascade_scores(lake, bucket, scored, cascade[0])
            scored = pl.concat([scored, by_model.select(scored.columns)])
        return pl.concat([scored, score_accounts(scored, posts)]).join(
            posts.select("item_id", "recipe"), on="item_id", how="left"
        )

    version = rules if cascade is None else fingerprint([rules, cascade[1]])
    stage = Stage(SCORES.name, (CHUNKS, VECTORS, TAGGERS, MODEL_TAGS), version, awaits=(TAGGERS, THRESHOLDS))
    return refresh_table(context, lake, ledger, stage, SCORES, of_bucket)
