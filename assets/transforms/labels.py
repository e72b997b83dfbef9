"""Turn labels into one judgement per item and vertical."""

import polars as pl

GOLD_SCHEMA = {
    "item_kind": pl.String,
    "item_id": pl.String,
    "vertical": pl.String,
    "is_member": pl.Boolean,
    "annotators": pl.Int64,
    "agreement": pl.Float64,
}


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
