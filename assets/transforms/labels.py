"""Turn labels into one judgement per item and vertical."""

import polars as pl
import pyarrow as pa

from assets.transforms.source.contract import recast_rows, recast_table
from assets.transforms.source.schema import LABELS_SCHEMA, REASON

GOLD_SCHEMA = {
    "item_kind": pl.String,
    "item_id": pl.String,
    "vertical": pl.String,
    "is_member": pl.Boolean,
    "annotators": pl.Int64,
    "agreement": pl.Float64,
}


_REJECT = {"reason": pl.String, "row": pl.String}


def as_labels(rows: pa.Table) -> pa.Table:
    """Return rows of any types in LABELS_SCHEMA, with the columns ``reason`` and ``row``, null unless it is a reject.

    A row with a value that cannot be cast, such as a time out of range, is a reject, with all of its values as JSON in
    ``row``. In ``is_member``, 0 and 1 are truth values.
    """
    given = rows.set_column(
        rows.column_names.index("is_member"), "is_member", _as_truth(rows["is_member"])
    )  # sources that know no booleans write numbers
    cast, rejects = recast_rows(LABELS_SCHEMA, given)
    usable = pl.DataFrame(pl.from_arrow(cast))
    named = pl.Schema(_REJECT)
    frames = [usable.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in named.items())]
    if not rejects.is_empty():
        values = rejects.drop(REASON)
        bare = pl.DataFrame(pl.from_arrow(recast_table(LABELS_SCHEMA, values.to_arrow())))
        shown = values.select(row=pl.struct(pl.all()).struct.json_encode())
        frames.append(bare.with_columns(rejects[REASON].alias("reason"), shown["row"]))
    return pl.concat(frames).to_arrow(compat_level=pl.CompatLevel.oldest())


def _as_truth(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with 0 and 1 as false and true, if all of its numbers are."""
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return values
    numbers = pl.Series(pl.from_arrow(values))
    if not ((numbers == 0) | (numbers == 1)).all():
        return values
    return pa.chunked_array([(numbers == 1).to_arrow()])


def judge(labels: pl.DataFrame, verticals: set[str], posts: pl.Series, accounts: pl.Series) -> pl.DataFrame:
    """Return the labels with a column ``reason``, null if usable. ``posts`` and ``accounts`` are the known ids."""
    kind, item = pl.col("item_kind"), pl.col("item_id")
    known = pl.when(kind == "post").then(item.is_in(posts.implode())).otherwise(item.is_in(accounts.implode()))
    return labels.with_columns(
        reason=pl.when(pl.any_horizontal(pl.col("item_kind", "item_id", "vertical", "is_member").is_null()))
        .then(pl.lit("a label column is missing"))
        .when(~kind.is_in(["post", "account"]))
        .then(pl.lit("item_kind is neither post nor account"))
        .when(~pl.col("vertical").is_in(sorted(verticals)))
        .then(pl.lit("vertical is not in the catalogue"))
        .when(~known)
        .then(pl.lit("item is not in the lake"))
    )


def agree(labels: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (item_kind, item_id, vertical): the majority of its annotators. A tie is no membership.

    Only an annotator's last judgement of an item counts. All unnamed annotators count as one.
    """
    key = ["item_kind", "item_id", "vertical"]
    once = labels.unique([*key, "annotator"], keep="last")
    share = pl.col("is_member").mean()
    return (
        once.group_by(key)
        .agg(
            is_member=share > 0.5,
            annotators=pl.len(),
            agreement=pl.max_horizontal(share, 1 - share).round(6),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in GOLD_SCHEMA.items())
    )
