"""label/gold: one judgement per item and vertical, by the votes of people."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.framework.intake import without_items_of_erased
from assets.labels.votes import VOTES
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.labels.votes import agree, disputed, judge
from resources.catalogues import load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.erasure.tombstones import ErasureResource
from resources.raw.quarantine import QuarantineResource

_RULE = "2"
_VOTED = VOTES.sources("is_member", "voter", "labelled_at", "dropped_at", "is_review")
GOLD = TableSpec.of(
    "label/gold",
    {
        "item_kind": VOTES.copied("item_kind"),
        "item_id": Column(
            pa.string(),
            "Id of the post or account, which the lake has.",
            VOTES.sources("item_id"),
            "id",
        ),
        "account_id": LAKE_POSTS.copied("account_id", "Id of the account that posted, or that was labelled."),
        "vertical": VOTES.copied("vertical"),
        "is_member": Column(pa.bool_(), "Whether most votes say that the item belongs to the vertical.", _VOTED),
        "votes": Column(pa.int64(), "Number of votes: one per annotator; a reviewer's settles the label.", _VOTED),
        "agreement": Column(pa.float64(), "Share of the votes that agree with is_member, above a half.", _VOTED),
        "is_reviewed": Column(pa.bool_(), "Whether a reviewer settled the label.", VOTES.sources("is_review")),
        "labelled_at": Column(
            VOTES.schema.field("labelled_at").type,
            "When the newest of the votes was given; where a file does not say, when it was dropped.",
            VOTES.sources("labelled_at", "dropped_at"),
        ),
        "label_version": Column(pa.string(), "Hash of the votes. Another vote gives another version.", _VOTED),
    },
    ("item_id", "item_kind", "vertical"),
    partitioned=False,
)


@asset(
    table=GOLD,
    code_version=_RULE,
    deps=[["label", "votes"], ["lake", "posts"], ["lake", "accounts"]],
    description="Labels that people agreed on. One row per labelled post or account and vertical: whether it belongs "
    "to the vertical by the majority of its annotators, how many they were, and how far they agree. An even split "
    "is no label.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def gold(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    quarantine: QuarantineResource,
    erasures: ErasureResource,
) -> RunMetrics:
    """Count the votes. Memory grows with the labels, which people write by hand."""
    verticals = {vertical.name for vertical in load_verticals()}

    def decide(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        given = lake.scan(VOTES).collect()
        judged = judge(given, verticals, owners(lake, given["item_id"]))
        unknown = judged.filter(pl.col("reason").is_not_null())
        rejects = without_items_of_erased(unknown, erasures)
        tally.counts["erased"] += unknown.height - rejects.height
        shown = rejects.select("item_kind", "item_id", "vertical", "is_member", "source_file", "reason")
        tally.counts["quarantined"] += quarantine.land("labels", "labels", "item_id", shown)
        usable = judged.filter(pl.col("reason").is_null())
        tally.counts["even_splits"] = disputed(usable).height
        return agree(usable)

    version = fingerprint([_RULE, *sorted(verticals)])
    stage = Stage(GOLD.name, (VOTES, LAKE_POSTS, LAKE_ACCOUNTS), version, partitioned=False)
    return refresh_table(context, lake, ledger, stage, GOLD, decide)


def owners(lake: LakeResource, ids: pl.Series) -> pl.DataFrame:
    """Return (item_kind, item_id, account_id) of those posts and accounts that the lake has."""
    wanted = ids.unique().implode()
    posts = lake.scan(LAKE_POSTS).filter(pl.col("post_id").is_in(wanted)).select(
        pl.lit("post").alias("item_kind"), pl.col("post_id").alias("item_id"), "account_id"
    )  # fmt: skip
    accounts = lake.scan(LAKE_ACCOUNTS).filter(pl.col("account_id").is_in(wanted)).select(
        pl.lit("account").alias("item_kind"), pl.col("account_id").alias("item_id"), "account_id"
    )  # fmt: skip
    return pl.concat([posts, accounts]).collect().unique(["item_kind", "item_id"])


ASSETS = [gold]
