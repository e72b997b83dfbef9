"""label/issues: labels that are likely wrong, ranked, and the file that a reviewer fills in."""

import io

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.embeddings import VECTORS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels.gold import GOLD
from assets.labels.vectors import item_vectors
from assets.lake import LAKE_POSTS
from assets.transforms.labels.issues import ISSUE_SCHEMA, doubtful_labels, ranked, review_sheet
from assets.transforms.verticals.scoring import ACCOUNT, POST
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.s3.client import S3Resource
from resources.settings import bucket_count

REVIEW = "review/"
SHEET = f"{REVIEW}labels/issues.csv"
_RULE = "1"
_MOST_ON_SHEET = 1_000
_MADE_OF = GOLD.sources("is_member") + VECTORS.sources("vector")
ISSUES = TableSpec.of(
    "label/issues",
    {
        **{name: GOLD.copied(name) for name in ("item_kind", "item_id", "account_id", "vertical", "is_member")},
        "probability": Column(
            pa.float64(), "Probability of membership, by a probe that did not see the account.", _MADE_OF, "attribute"
        ),
        "quality": Column(pa.float64(), "Probability that the label is right.", _MADE_OF),
        "is_issue": Column(pa.bool_(), "Whether the item is confidently of the other class.", _MADE_OF),
        "rank": Column(pa.int64(), "Place from 1: the label that is likeliest wrong comes first.", _MADE_OF),
        "label_version": GOLD.copied("label_version"),
    },
    ("item_id", "item_kind", "vertical"),
    partitioned=False,
)


@asset(
    table=ISSUES,
    code_version=_RULE,
    deps=[["label", "gold"], ["embedding", "cippus_text"], ["lake", "posts"]],
    description="Labels by how likely they are wrong. One row per label that no reviewer settled, of verticals with at "
    "least 5 members and 5 others: the probability by a probe that did not see the item's account, and the rank. "
    f"The likeliest are in {SHEET} for a reviewer, who drops the filled sheet into landing/labels/.",
    owners=["team:data-science"],
    kinds={"delta", "numpy", "csv"},
)
def issues(
    context: AssetExecutionContext,
    s3: S3Resource,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
) -> RunMetrics:
    """Judge the labels when they change. Memory: the vectors of labelled items."""
    model = embedder.model()

    def find(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        gold, frames = lake.scan(GOLD).collect(), [pl.DataFrame(schema=ISSUE_SCHEMA)]
        for kind in (POST, ACCOUNT):
            of_kind = gold.filter(pl.col("item_kind") == kind)
            items, vectors = item_vectors(lake, model, kind, of_kind["item_id"], range(bucket_count()))
            if not items.is_empty():
                frames.append(doubtful_labels(of_kind, items, vectors))
        found = ranked(pl.concat(frames))
        tally.counts.update(issues=int(found["is_issue"].sum()), labels_judged=found.height)
        _export(s3, lake, found.filter("is_issue").head(_MOST_ON_SHEET))
        return found

    stage = Stage(ISSUES.name, (GOLD,), fingerprint([_RULE, model.name]), partitioned=False, awaits=(VECTORS,))
    return refresh_table(context, lake, ledger, stage, ISSUES, find)


def _export(s3: S3Resource, lake: LakeResource, doubted: pl.DataFrame) -> None:
    """Write the sheet before the table: after a crash in between, both are made again."""
    ids = doubted.filter(pl.col("item_kind") == POST)["item_id"].unique().implode()
    texts = lake.scan(LAKE_POSTS).filter(pl.col("post_id").is_in(ids)).select(item_id="post_id", text="text").collect()
    if doubted.is_empty():
        s3.delete([SHEET])
        return
    buffer = io.BytesIO()
    review_sheet(doubted, texts).write_csv(buffer, include_bom=True)
    s3.put(SHEET, buffer.getvalue())


ASSETS = [issues]
