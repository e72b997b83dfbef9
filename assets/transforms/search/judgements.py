"""Relevance judgements of accounts, computed from gold labels."""

import polars as pl

from assets.transforms.verticals.scoring import ACCOUNT, POST
from assets.transforms.verticals.taggers.calibration import MIN_PER_CLASS


def judged_accounts(gold: pl.DataFrame, posts: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return vertical → account id → 1 (relevant) or 0, for verticals with at least MIN_PER_CLASS of each.

    ``gold`` is label/gold, ``posts`` the searchable (post_id, account_id). An account's own judgement wins; without
    one, an account is relevant when any of its judged posts is. Accounts without a searchable post are left out.
    """
    of_posts = (
        gold.filter(pl.col("item_kind") == POST)
        .select("vertical", "item_id", "is_member")
        .join(posts, left_on="item_id", right_on="post_id")
        .group_by("vertical", "account_id")
        .agg(by_post=pl.col("is_member").any())
    )
    searchable = posts.select("account_id").unique()
    of_accounts = (
        gold.filter(pl.col("item_kind") == ACCOUNT)
        .select("vertical", account_id="item_id", by_account="is_member")
        .join(searchable, on="account_id", how="semi")
    )
    judged = of_accounts.join(of_posts, on=["vertical", "account_id"], how="full", coalesce=True).select(
        "vertical", "account_id", grade=pl.coalesce("by_account", "by_post").cast(pl.Int64)
    )
    found: dict[str, dict[str, int]] = {}
    for vertical, account_id, grade in judged.sort("vertical", "account_id").iter_rows():
        found.setdefault(vertical, {})[account_id] = grade
    return {
        vertical: grades
        for vertical, grades in found.items()
        if MIN_PER_CLASS <= sum(grades.values()) <= len(grades) - MIN_PER_CLASS
    }
