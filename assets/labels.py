"""label/*: what people say that posts and accounts are about."""

import io
from collections.abc import Sequence

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, record_intake, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.labels import agree, judge
from assets.transforms.source.arrivals import digest
from assets.transforms.source.schema import LABELS_SCHEMA
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec, fingerprint
from resources.erasure.tombstones import ErasureResource
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource

GROUP = "label"
LANDING = "landing/labels/"
GOLD = TableSpec(
    "label/gold",
    pa.schema(
        [
            ("item_kind", pa.string()),
            ("item_id", pa.string()),
            ("vertical", pa.string()),
            ("is_member", pa.bool_()),
            ("annotators", pa.int64()),
            ("agreement", pa.float64()),
        ]
    ),
    ("item_id", "item_kind", "vertical"),
    partitioned=False,
)


@asset(
    key=["label", "gold"],
    deps=[["lake", "posts"], ["lake", "accounts"]],
    group_name=GROUP,
    description="One judgement per item and vertical: the majority of the annotators in landing/labels/.",
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
) -> MaterializeResult[None]:
    """Collect every dropped label file. Memory grows with the labels, which people write by hand.

    A label of an erased account's is neither gold nor in quarantine.
    """
    dropped = sorted((item for item in s3.list_objects(LANDING) if is_label_file(item)), key=lambda item: item.key)
    verticals = load_verticals()

    def collect(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        labels, unusable = _read(s3, dropped)
        ids = labels["item_id"].unique().implode()
        posts = lake.scan(LAKE_POSTS).select("post_id").filter(pl.col("post_id").is_in(ids)).collect()
        accounts = lake.scan(LAKE_ACCOUNTS).select("account_id").filter(pl.col("account_id").is_in(ids)).collect()
        judged = judge(labels, {v.name for v in verticals}, posts["post_id"], accounts["account_id"])
        unknown = judged.filter(pl.col("reason").is_not_null())
        rejects = without_labels_of_erased(unknown, erasures)
        tally.counts["erased"] += unknown.height - rejects.height
        tally.counts["quarantined"] += quarantine.land("labels", "labels", "item_id", rejects)
        tally.counts["files_quarantined"] += quarantine.land("label-files", "label files", "file", unusable)
        tally.counts["files"] = len(dropped)
        return agree(judged.filter(pl.col("reason").is_null()).drop("reason"))

    rule = label_rule()
    version = fingerprint([rule, *(part for item in dropped for part in (item.key, item.etag))])
    stage = Stage(GOLD.name, (LAKE_POSTS, LAKE_ACCOUNTS), version, partitioned=False)
    result = refresh_table(context, lake, ledger, stage, GOLD, collect)
    record_intake(context, ledger, GOLD.name, digest(dropped, rule))
    return result


def is_label_file(item: S3Object) -> bool:
    """Whether an object under landing/labels/ is one that labels are read from."""
    return item.key.endswith(".parquet")


def label_rule() -> str:
    """What labels are judged by, beside the lake; with another rule every file is to be read again."""
    return catalogue_hash(load_verticals())


def without_labels_of_erased(labels: pl.DataFrame, erasures: ErasureResource) -> pl.DataFrame:
    """Labels of items that no erased account owned."""
    items = labels.select("item_kind", "item_id").drop_nulls().unique()
    erased = pl.DataFrame(sorted(erasures.erased_items(items.iter_rows())), schema=items.schema, orient="row")
    return labels.join(erased, on=["item_kind", "item_id"], how="anti")


_SCHEMA = dict(pl.DataFrame(pl.from_arrow(LABELS_SCHEMA.empty_table())).schema)


def _read(s3: S3Resource, dropped: Sequence[S3Object]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The label rows of all files, and (file, reason) of the files that cannot be used.

    One bad file does not hold up the others' labels; ``annotator`` may be absent. A file that was replaced or deleted
    since it was listed is left to the run that its change asks for.
    """
    frames, unusable = [pl.DataFrame(schema=_SCHEMA)], []
    for item in dropped:
        key, body = item.key, s3.get(item.key, item.etag)
        if body is None:
            continue
        try:
            frame = pl.read_parquet(io.BytesIO(body))
            missing = [name for name in _SCHEMA if name not in frame.columns and name != "annotator"]
            if missing:
                unusable.append((key, f"the file has no column {missing[0]}"))
                continue
            if "annotator" not in frame.columns:
                frame = frame.with_columns(annotator=pl.lit(None, pl.String))
            frames.append(frame.select(pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items()))
        except pl.exceptions.PolarsError as error:
            unusable.append((key, f"the file cannot be read as labels: {str(error).splitlines()[0]}"))
    return pl.concat(frames), pl.DataFrame(unusable, schema={"file": pl.String, "reason": pl.String}, orient="row")


ASSETS = [gold]
