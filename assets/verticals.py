"""vertical/*: what posts and accounts are about, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
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
    DescribedVertical,
    by_vertical,
    fit_thresholds,
    score,
    score_accounts,
    tag,
)
from resources.catalogues import Vertical, catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec, fingerprint
from resources.models.embedder import EmbedderResource

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
"""``scores`` are in the catalogue's order, ``by_vertical`` names them. ``text_hash`` is of a post's text; with
``recipe``, what scores are made by, it says that they still stand."""
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
    description="Zero-shot score of every post and account for every vertical: nearness to its descriptions.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def scores(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> MaterializeResult[None]:
    """Score the posts and accounts of a stale bucket; the vectors of new or changed texts alone are read."""
    verticals, model = load_verticals(), embedder.model()
    described = _Described(embedder)
    recipe = fingerprint(["4", catalogue_hash(verticals), model.name])

    def of_bucket(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        columns = ["account_bucket", "account_id", "post_id", "text_hash", "content_hash", "recipe"]
        chunks = lake.scan_cached(CHUNKS, bucket).select(columns).collect()
        chunks = chunks.with_columns(recipe=pl.concat_str(pl.lit(recipe), "recipe", separator="/"))
        standing = _standing(current, chunks)
        fresh = chunks.join(standing, left_on="post_id", right_on="item_id", how="anti")
        vectors = with_vectors(lake, bucket or 0, fresh, model)
        made = score(*vectors, described.verticals()) if fresh.height else standing.clear()
        recipes = chunks.select(pl.col("post_id").alias("item_id"), "recipe").unique("item_id")
        posts = pl.concat([standing, made.drop("recipe", strict=False).select(standing.columns)])
        tally.counts["posts_scored"] += fresh["post_id"].n_unique()
        scored = pl.concat([posts, score_accounts(posts)])
        return scored.join(recipes, on="item_id", how="left")

    stage = Stage(SCORES.name, (CHUNKS, VECTORS), recipe)
    return refresh_table(context, lake, ledger, stage, SCORES, of_bucket)


def _standing(current: pl.DataFrame, chunks: pl.DataFrame) -> pl.DataFrame:
    """The scores of a bucket's posts that need not be made again: same text, account and recipe."""
    now = chunks.select(
        "account_bucket", "account_id", "text_hash", "recipe", pl.col("post_id").alias("item_id")
    ).unique("item_id")
    held = current.select(SCORES.schema.names).filter(pl.col("item_kind") == POST)
    same = ["account_bucket", "account_id", "item_id", "text_hash", "recipe"]
    return held.join(now, on=same, how="semi").drop("recipe")


@dataclass
class _Described:
    """The catalogue's descriptions as vectors, embedded once, when a post has to be scored."""

    embedder: EmbedderResource
    _verticals: list[DescribedVertical] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def verticals(self) -> Sequence[DescribedVertical]:
        """In the catalogue's order."""
        with self._lock:
            self._verticals = self._verticals or [self._embedded(vertical) for vertical in load_verticals()]
        return self._verticals

    def _embedded(self, vertical: Vertical) -> DescribedVertical:
        vectors = np.empty((len(vertical.descriptions), self.embedder.model().dimension), dtype=np.float32)
        for indices, batch in self.embedder.model().embed(vertical.descriptions):
            vectors[indices] = batch
        return DescribedVertical(vertical.name, vectors)


@asset(
    key=["vertical", "thresholds"],
    deps=[["vertical", "scores"], ["label", "gold"]],
    group_name=GROUP,
    description="The score at which a vertical's tag is given: fitted on gold labels, else the catalogue's default.",
    owners=["team:data-science"],
    kinds={"delta", "numpy"},
)
def thresholds(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> MaterializeResult[None]:
    """Fit thresholds; reads the scores of labelled items only."""
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
    description="The verticals that a post or an account reaches, with score and threshold.",
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
