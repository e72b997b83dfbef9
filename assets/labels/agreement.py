"""label/agreement and label/annotators: how far people agree, and whom to ask again."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels.votes import VOTES
from assets.transforms.labels import agreement as transform
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec

_RULE = "1"
_OF = VOTES.sources("is_member", "voter", "labelled_at")
_COUNT = pa.int64()
AGREEMENT = TableSpec.of(
    "label/agreement",
    {
        "item_kind": VOTES.copied("item_kind"),
        "vertical": VOTES.copied("vertical"),
        "items": Column(_COUNT, "Number of labelled items.", _OF),
        "items_compared": Column(_COUNT, "Items that two or more annotators labelled.", _OF),
        "votes": Column(_COUNT, "Number of votes.", _OF),
        "annotators": Column(_COUNT, "Number of annotators.", _OF),
        "even_splits": Column(_COUNT, "Items whose votes are split evenly, so that they have no label.", _OF),
        "alpha": Column(pa.float64(), "Krippendorff's alpha: 1 is full agreement, 0 is chance; null if unknown.", _OF),
    },
    ("vertical", "item_kind"),
    partitioned=False,
)
ANNOTATORS = TableSpec.of(
    "label/annotators",
    {
        "voter": VOTES.copied("voter"),
        "labels": Column(_COUNT, "Number of labels, the newest of each item and vertical.", _OF),
        "compared": Column(_COUNT, "Labels of items on which the others have a majority.", _OF),
        "agreeing": Column(_COUNT, "Labels in line with the majority of the others.", _OF),
        "controls": Column(_COUNT, "Labels of control items: on which two others agree, or a reviewer decided.", _OF),
        "controls_right": Column(_COUNT, "Labels of control items in line with the others.", _OF),
    },
    ("voter",),
    partitioned=False,
)


@asset(
    table=AGREEMENT,
    code_version=_RULE,
    deps=[["label", "votes"]],
    description="How far annotators agree. One row per item kind and vertical: labelled items, votes, even splits, and "
    "Krippendorff's alpha.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def agreement(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Compare the votes."""

    def compare(_bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        return transform.agreement(lake.scan(VOTES).collect())

    stage = Stage(AGREEMENT.name, (VOTES,), _RULE, partitioned=False)
    return refresh_table(context, lake, ledger, stage, AGREEMENT, compare)


@asset(
    table=ANNOTATORS,
    code_version=_RULE,
    deps=[["label", "votes"]],
    description="How far each annotator agrees with the others. One row per annotator, or per file without annotators: "
    "labels, those in line with the majority of the others, and those of control items.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def annotators(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Compare each annotator's votes with those of the others."""

    def compare(_bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        return transform.annotators(lake.scan(VOTES).collect())

    stage = Stage(ANNOTATORS.name, (VOTES,), _RULE, partitioned=False)
    return refresh_table(context, lake, ledger, stage, ANNOTATORS, compare)


ASSETS: list[AssetsDefinition] = [agreement, annotators]
