"""label/hard_negatives, label/training_pairs and label/learning_curve: what an encoder or a head is trained on."""

from collections.abc import Iterator
from threading import Lock

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.framework.pictures import pictures
from assets.labels.gold import GOLD
from assets.labels.vectors import item_vectors
from assets.transforms.labels import pairs
from assets.transforms.labels.curve import learning_curve, verdict
from assets.transforms.labels.probe import folds_of, label_matrix
from assets.transforms.plots import learning_plot
from assets.transforms.verticals.scoring import POST
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.models.embedder import EmbeddingModel
from resources.settings import bucket_count

_RULE = "1"
_BLOCK_ROWS = 2_048
_MADE_OF = GOLD.sources("is_member") + VECTORS.sources("vector")
_KINDS = "members, hard negative (mined from the vectors) or negative (labelled)"
HARD_NEGATIVES = TableSpec.of(
    "label/hard_negatives",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "account_id": CHUNKS.copied("account_id"),
        "vertical": GOLD.copied("vertical"),
        "anchor_id": GOLD.copied("item_id", "Id of the labelled member that the post is like."),
        "item_id": CHUNKS.copied("post_id", "Id of the post that is like a member and is none."),
        "similarity": Column(pa.float64(), "Cosine of the two.", VECTORS.sources("vector"), "attribute"),
        "is_labelled": Column(pa.bool_(), "Whether people said that it is none; else it is taken as none.", _MADE_OF),
    },
    ("vertical", "anchor_id", "item_id"),
)
_PAIRED = GOLD.sources("is_member") + HARD_NEGATIVES.sources("similarity", "is_labelled")
TRAINING_PAIRS = TableSpec.of(
    "label/training_pairs",
    {
        "rank": Column(pa.int64(), "Number of the pair from 1. The first n pairs are a set of their own.", _PAIRED),
        "vertical": GOLD.copied("vertical"),
        "anchor_id": GOLD.copied("item_id", "Id of a post that belongs to the vertical."),
        "other_id": Column(
            pa.string(), "Id of the other post.", GOLD.sources("item_id") + HARD_NEGATIVES.sources("item_id"), "id"
        ),
        "is_same": Column(pa.bool_(), "Whether the other post belongs to the vertical too.", _PAIRED),
        "kind": Column(pa.string(), f"Where the pair is from: {_KINDS}.", _PAIRED),
        "smallest_set": Column(pa.int64(), "Smallest set that has the pair: 1,000, 10,000 or 15,000.", _PAIRED),
    },
    ("rank",),
    partitioned=False,
)
LEARNING_CURVE = TableSpec.of(
    "label/learning_curve",
    {
        "labels": Column(pa.int64(), "Number of labelled posts that the probes learnt from.", _MADE_OF),
        "quality": Column(pa.float64(), "Mean average precision on accounts that they did not see.", _MADE_OF),
        "low": Column(pa.float64(), "Two standard errors below.", _MADE_OF),
        "high": Column(pa.float64(), "Two standard errors above.", _MADE_OF),
        "is_measured": Column(pa.bool_(), "False for the projection to twice the labels.", _MADE_OF),
    },
    ("labels",),
    partitioned=False,
)


@asset(
    table=HARD_NEGATIVES,
    code_version=_RULE,
    deps=[["label", "gold"], ["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    description="Posts that are like members of a vertical and are none. One row per vertical, member and post: for "
    f"each of at most {pairs.ANCHORS} labelled members the {pairs.NEGATIVES} most similar of each bucket, of other "
    "accounts.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def hard_negatives(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Search the vectors of a stale bucket, block by block. Memory: the members, and one block of vectors."""
    model, lock = embedder.model(), Lock()
    shared: list[tuple[int, pairs.Mining]] = []

    def of_bucket(bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        with lock:  # read once a run
            if not shared:
                gold, anchors, vectors = _anchors(lake, model)
                shared.append((anchors.height, pairs.Mining.of(anchors, vectors, gold)))
        number, mining = shared[0]
        if not number:
            return HARD_NEGATIVES.empty()
        found = mining.mine(_blocks(lake, bucket or 0, model))
        tally.counts["anchors"] = number
        return found.with_columns(pl.lit(bucket, pl.Int32).alias("account_bucket"))

    stage = Stage(HARD_NEGATIVES.name, (GOLD, CHUNKS, VECTORS), fingerprint([_RULE, model.name]), awaits=(GOLD,))
    return refresh_table(context, lake, ledger, stage, HARD_NEGATIVES, of_bucket)


@asset(
    table=TRAINING_PAIRS,
    code_version=_RULE,
    deps=[["label", "gold"], ["label", "hard_negatives"]],
    description="Pairs of posts to train on: two members of a vertical, or a member and a post that is none. The first "
    "1,000, 10,000 and 15,000 pairs are sets that have all verticals, half of each kind.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def training_pairs(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Pair the labelled posts. Memory grows with the labels."""

    def make(_bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        return pairs.training_pairs(_gold_of_posts(lake), lake.scan(HARD_NEGATIVES).collect())

    stage = Stage(TRAINING_PAIRS.name, (GOLD, HARD_NEGATIVES), _RULE, partitioned=False, awaits=(GOLD,))
    return refresh_table(context, lake, ledger, stage, TRAINING_PAIRS, make)


@asset(
    table=LEARNING_CURVE,
    code_version=_RULE,
    deps=[["label", "gold"], ["embedding", "cippus_text"]],
    description="Whether more labels would help. One row per number of labelled posts: how good probes are that learnt "
    "from so many, on accounts that they did not see, and a projection to twice the labels.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def learning(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Measure the curve when the labels change. Memory: the vectors of labelled posts."""
    model = embedder.model()

    def measure(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        gold = _gold_of_posts(lake)
        items, vectors = item_vectors(lake, model, POST, gold["item_id"], range(bucket_count()))
        if items.is_empty():
            return LEARNING_CURVE.empty()
        labels = label_matrix(gold, items, sorted(gold["vertical"].unique()))
        found = learning_curve(vectors, labels, folds_of(items["account_id"]), items["account_id"].to_list())
        tally.notes |= pictures([learning_plot("Learning curve: what more labels would give", found)])
        return found

    version = fingerprint([_RULE, model.name])
    stage = Stage(LEARNING_CURVE.name, (GOLD,), version, partitioned=False, awaits=(GOLD, VECTORS))
    metrics = refresh_table(context, lake, ledger, stage, LEARNING_CURVE, measure)
    metrics.notes["verdict"] = verdict(lake.scan(LEARNING_CURVE).sort("labels").collect())
    return metrics


def _gold_of_posts(lake: LakeResource) -> pl.DataFrame:
    return lake.scan(GOLD).filter(pl.col("item_kind") == POST).collect()


def _anchors(lake: LakeResource, model: EmbeddingModel) -> tuple[pl.DataFrame, pl.DataFrame, npt.NDArray[np.float32]]:
    """Return the labels of posts, the anchors that have a vector, and their vectors."""
    gold = _gold_of_posts(lake)
    chosen = pairs.choose_anchors(gold)
    items, vectors = item_vectors(lake, model, POST, chosen["item_id"], range(bucket_count()))
    held = chosen.join(items.with_row_index("_at").select("item_id", "_at"), on="item_id", maintain_order="left")
    return gold, held.drop("_at"), vectors[held["_at"].to_numpy()]


def _blocks(
    lake: LakeResource, bucket: int, model: EmbeddingModel
) -> Iterator[tuple[pl.DataFrame, npt.NDArray[np.float32]]]:
    columns = ["account_id", "content_hash", pl.col("post_id").alias("item_id"), "point_id"]
    chunks = lake.scan_cached(CHUNKS, bucket).select(columns).collect().sort("account_id", "point_id")
    for part in chunks.iter_slices(_BLOCK_ROWS):
        rows, vectors = with_vectors(lake, bucket, part, model)
        yield rows, vectors


ASSETS: list[AssetsDefinition] = [hard_negatives, training_pairs, learning]
