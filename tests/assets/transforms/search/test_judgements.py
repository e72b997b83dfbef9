"""Which accounts a vertical's search should find, from labels of accounts and of posts."""

import polars as pl

from assets.labels.gold import GOLD
from assets.transforms.search.judgements import judged_accounts

Label = tuple[str, str, bool]


def judged(labels: list[Label], posts: dict[str, str]) -> dict[str, dict[str, int]]:
    rows = [(kind, item, "own", "sports", is_member, 1, 1.0, False, None, "v") for kind, item, is_member in labels]
    gold = pl.DataFrame(rows, schema=GOLD.polars_schema, orient="row")
    names = dict.fromkeys(("post_id", "account_id"), pl.String)
    held = pl.DataFrame(list(posts.items()), schema=names, orient="row")
    return judged_accounts(gold, held)


POSTS = {f"{account}/{number}": account for account in [*"abcdefghij", "k", "l"] for number in (0, 1)}
ACCOUNTS: list[Label] = [("account", account, account < "f") for account in "abcdefghij"]


def test_an_account_s_own_judgement_comes_before_its_posts() -> None:
    of_posts: list[Label] = [("post", "a/0", False), ("post", "j/0", True)]
    assert judged(ACCOUNTS + of_posts, POSTS) == {"sports": {account: int(account < "f") for account in "abcdefghij"}}


def test_an_account_without_one_is_judged_by_any_of_its_posts() -> None:
    of_posts: list[Label] = [("post", "k/0", False), ("post", "k/1", True), ("post", "l/0", False)]
    found = judged(ACCOUNTS + of_posts, POSTS)["sports"]
    assert (found["k"], found["l"]) == (1, 0)


def test_what_cannot_be_found_is_not_asked_for() -> None:
    assert "nobody" not in judged([*ACCOUNTS, ("account", "nobody", True), ("post", "nobody/0", True)], POSTS)["sports"]


def test_too_few_of_either_kind_are_no_question() -> None:
    assert judged(ACCOUNTS[1:], POSTS) == judged(ACCOUNTS[:-1], POSTS) == judged([], POSTS) == {}
