"""label/*: people's judgements whether a post or an account belongs to a vertical."""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.dropped_files import label_rows, too_large
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, record_intake, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.labels import agree, judge
from assets.transforms.source.arrivals import digest
from assets.transforms.source.schema import LABELS_SCHEMA
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.erasure.tombstones import ErasureResource
from resources.isolation import process as isolation
from resources.isolation.process import UnreadableFileError
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource

LANDING = "landing/labels/"
GOLD = TableSpec.of(
    "label/gold",
    {
        "item_kind": Column(pa.string(), "What was labelled: post or account."),
        "item_id": Column(
            pa.string(),
            "Id of the post or account, which the lake has.",
            LAKE_POSTS.sources("post_id") + LAKE_ACCOUNTS.sources("account_id"),
            "id",
        ),
        "vertical": Column(pa.string(), "Name of the vertical."),
        "is_member": Column(pa.bool_(), "Whether most annotators say that the item belongs to the vertical."),
        "annotators": Column(pa.int64(), "Number of annotators."),
        "agreement": Column(pa.float64(), "Share of the annotators that agree with is_member."),
    },
    ("item_id", "item_kind", "vertical"),
    partitioned=False,
)


_SCHEMA = dict(pl.DataFrame(pl.from_arrow(LABELS_SCHEMA.empty_table())).schema)
_READ = pl.Schema({**_SCHEMA, "reason": pl.String(), "row": pl.String()})
_READING = "2"
"""Change it to have every file read again."""


@asset(
    table=GOLD,
    code_version=_READING,
    deps=[["lake", "posts"], ["lake", "accounts"]],
    description="Labels that people agreed on. One row per labelled post or account and vertical: whether it belongs "
    "to the vertical by the majority of its annotators, how many they were, and how far they agree. "
    "From the Parquet files in landing/labels/.",
    owners=["team:data-science"],
    kinds={"delta", "parquet"},
)
def gold(
    context: AssetExecutionContext,
    s3: S3Resource,
    lake: LakeResource,
    ledger: LedgerResource,
    quarantine: QuarantineResource,
    erasures: ErasureResource,
) -> RunMetrics:
    """Read every label file, each in a process of its own. Memory grows with the labels, which people write by hand.

    Labels of erased accounts are left out, of the quarantine as well.
    """
    dropped = sorted(filter(is_label_file, s3.list_objects(LANDING)), key=lambda item: item.key)
    verticals = {vertical.name for vertical in load_verticals()}

    def collect(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        labels, unreadable, unusable = _read(s3, dropped)
        ids = labels["item_id"].unique().implode()
        posts = lake.scan(LAKE_POSTS).select("post_id").filter(pl.col("post_id").is_in(ids)).collect()
        accounts = lake.scan(LAKE_ACCOUNTS).select("account_id").filter(pl.col("account_id").is_in(ids)).collect()
        judged = judge(labels, verticals, posts["post_id"], accounts["account_id"])
        unknown = pl.concat([judged.filter(pl.col("reason").is_not_null()), unreadable], how="diagonal")
        rejects = without_labels_of_erased(unknown, erasures)
        tally.counts["erased"] += unknown.height - rejects.height
        for odd in (rejects.filter(pl.col("row").is_null()).drop("row"), rejects.filter(pl.col("row").is_not_null())):
            tally.counts["quarantined"] += quarantine.land("labels", "labels", "item_id", odd)
        tally.counts["files_quarantined"] += quarantine.land("label-files", "label files", "file", unusable)
        tally.counts["files"] = len(dropped)
        return agree(judged.filter(pl.col("reason").is_null()))

    rule = label_rule()
    version = fingerprint([rule, *(part for item in dropped for part in (item.key, item.etag))])
    stage = Stage(GOLD.name, (LAKE_POSTS, LAKE_ACCOUNTS), version, partitioned=False)
    result = refresh_table(context, lake, ledger, stage, GOLD, collect)
    record_intake(context, ledger, GOLD.name, digest(dropped, rule))
    return result


def is_label_file(item: S3Object) -> bool:
    """Return whether an object under landing/labels/ is read as labels."""
    return item.key.endswith(".parquet")


def label_rule() -> str:
    """Return the rule that labels are read and judged by. With another rule every file is read again."""
    return f"{_READING}/{catalogue_hash(load_verticals())}"


def without_labels_of_erased(labels: pl.DataFrame, erasures: ErasureResource) -> pl.DataFrame:
    """Return the labels of items that no erased account owned."""
    items = labels.select("item_kind", "item_id").drop_nulls().unique()
    erased = pl.DataFrame(sorted(erasures.erased_items(items.iter_rows())), schema=items.schema, orient="row")
    return labels.join(erased, on=["item_kind", "item_id"], how="anti")


def _read(s3: S3Resource, dropped: Sequence[S3Object]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the labels of all files, the rows that are no labels, and (file, reason) of unusable files.

    A file that was replaced or deleted since the listing is left to the run that its change triggers.
    """
    frames, unusable = [pl.DataFrame(schema=_READ)], []
    for item in dropped:
        if reason := too_large(item.size_bytes):
            unusable.append((item.key, reason))
            continue
        body = s3.get(item.key, item.etag)
        if body is None:
            continue
        try:
            tables = list(isolation.read(label_rows, body))
            frames += [pl.DataFrame(pl.from_arrow(table)).select(_READ.names()) for table in tables]
        except UnreadableFileError as error:
            unusable.append((item.key, str(error)))
    rows = pl.concat(frames)
    return (
        rows.filter(pl.col("reason").is_null()).select(list(_SCHEMA)),
        rows.filter(pl.col("reason").is_not_null()),
        pl.DataFrame(unusable, schema={"file": pl.String, "reason": pl.String}, orient="row"),
    )


ASSETS = [gold]
