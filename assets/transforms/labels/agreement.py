"""How far annotators agree: with each other, and on control items."""

import polars as pl

from assets.transforms.labels.votes import ITEM, newest


def agreement(votes: pl.DataFrame) -> pl.DataFrame:
    """Return one row per (item_kind, vertical): items, items_compared, votes, annotators, even_splits, alpha.

    ``alpha`` is Krippendorff's for two values: 1 is full agreement, 0 is chance; null if nobody judged an item that
    somebody else judged, or if all said the same. The package `krippendorff` is under the GPL.
    """
    latest = newest(votes)
    items = (
        latest.group_by(*ITEM)
        .agg(m=pl.len(), yes=pl.col("is_member").sum())
        .with_columns(no=pl.col("m") - pl.col("yes"))
    )
    compared = pl.col("m") > 1
    yes, no = (pl.col(name).filter(compared).sum().cast(pl.Float64) for name in ("yes", "no"))
    observed = (2 * pl.col("yes") * pl.col("no") / (pl.col("m") - 1)).filter(compared).sum()
    expected = 2 * yes * no / (yes + no - 1)
    figures = items.group_by("item_kind", "vertical").agg(
        items=pl.len().cast(pl.Int64),
        items_compared=compared.sum().cast(pl.Int64),
        votes=pl.col("m").sum().cast(pl.Int64),
        even_splits=(pl.col("yes") == pl.col("no")).sum().cast(pl.Int64),
        alpha=pl.when(yes * no > 0).then((1 - observed / expected).round(6)),
    )
    voters = latest.group_by("item_kind", "vertical").agg(annotators=pl.col("voter").n_unique().cast(pl.Int64))
    return figures.join(voters, on=["item_kind", "vertical"])


def annotators(votes: pl.DataFrame) -> pl.DataFrame:
    """Return one row per annotator: labels, compared, agreeing, controls, controls_right.

    ``compared``: labels of items on which the others have a majority; ``agreeing``: those in line with it.
    ``controls``: labels of items on which the others are sure: two or more who all agree, or a reviewer.
    """
    latest = newest(votes).with_columns(pl.col("is_member").cast(pl.Int64), pl.col("is_review").cast(pl.Int64))
    others = {
        "_others": pl.len().over(ITEM).cast(pl.Int64) - 1,
        "_yes": pl.col("is_member").sum().over(ITEM) - pl.col("is_member"),
        "_reviews": pl.col("is_review").sum().over(ITEM) - pl.col("is_review"),
    }
    seen = latest.with_columns(**others).with_columns(_no=pl.col("_others") - pl.col("_yes"))
    has_majority, says_yes = pl.col("_yes") != pl.col("_no"), pl.col("_yes") > pl.col("_no")
    is_sure = (pl.min_horizontal("_yes", "_no") == 0) & ((pl.col("_others") > 1) | (pl.col("_reviews") > 0))
    is_right = pl.col("is_member").cast(pl.Boolean) == says_yes
    return seen.group_by("voter").agg(
        labels=pl.len().cast(pl.Int64),
        compared=has_majority.sum().cast(pl.Int64),
        agreeing=(has_majority & is_right).sum().cast(pl.Int64),
        controls=is_sure.sum().cast(pl.Int64),
        controls_right=(is_sure & is_right).sum().cast(pl.Int64),
    )
