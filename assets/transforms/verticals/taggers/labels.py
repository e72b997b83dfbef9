"""Labels of posts and accounts in the shapes that taggers and their judges read."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from assets.transforms.verticals.accounts import score_accounts
from assets.transforms.verticals.scoring import ACCOUNT, POST, by_vertical, scored
from assets.transforms.verticals.taggers.interface import Floats


def label_matrix(posts: pl.DataFrame, gold: pl.DataFrame, verticals: Sequence[str]) -> Floats:
    """Return the labels of posts, shape (posts, verticals): 1, 0, or NaN for unlabelled.

    ``posts`` has (post_id, account_id), ``gold`` (item_kind, item_id, vertical, is_member). A post without a label
    takes that of its account.
    """
    places = pl.DataFrame({"vertical": verticals, "_column": range(len(verticals))})
    known = gold.drop_nulls("is_member").join(places, on="vertical")
    found = np.full((posts.height, len(verticals)), np.nan)
    numbered = posts.select("post_id", "account_id").with_row_index("_row")
    for kind, key in ((ACCOUNT, "account_id"), (POST, "post_id")):  # a post's own label wins
        rows = numbered.join(known.filter(item_kind=kind), left_on=key, right_on="item_id")
        found[rows["_row"].to_numpy(), rows["_column"].to_numpy()] = rows["is_member"].to_numpy()
    return found


def judged(
    posts: pl.DataFrame, probabilities: Floats, method: str, gold: pl.DataFrame, verticals: Sequence[str]
) -> pl.DataFrame:
    """Return the labelled posts and accounts with their probabilities, null where the method abstained.

    Columns: (method, item_kind, item_id, account_id, vertical, is_member, probability). ``posts`` has (account_bucket,
    account_id, post_id, posted_at, text_hash).
    """
    of_posts = scored(posts, probabilities, method)
    posted = posts.select("posted_at", item_id="post_id")
    every = pl.concat([of_posts, score_accounts(of_posts, posted)]).lazy()
    labels = gold.drop_nulls("is_member").lazy().select("item_kind", "item_id", "vertical", "is_member")
    found = by_vertical(every, verticals).join(labels, on=["item_kind", "item_id", "vertical"])
    columns = ["method", "item_kind", "item_id", "account_id", "vertical", "is_member"]
    return found.select(*columns, probability="score").sort([*columns[:3], "vertical"]).collect()
