"""More of the same: an account as a query."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import numpy as np
import polars as pl

from assets.corpus import CHUNKS
from assets.search.accounts import Accounts
from assets.search.candidates import Question, unit
from assets.search.terms import Terms, weights_of
from assets.transforms.search.names import match_names
from resources.vectors.index import SearchIndex
from resources.vectors.values import SparseVector

_POSTS_READ = 200
"""The newest chunks of an account that stand for it."""
_TERMS_ASKED = 20


def resolve(accounts: Accounts, name: str) -> str:
    """Return the id of an account given by its id or handle. Raise ValueError for another text, with near-misses."""
    wanted = name.strip().lstrip("@")
    names = accounts.names()
    for column in ("account_id", "handle"):
        found = names.filter(pl.col(column).str.strip_prefix("@") == wanted)
        if found.height == 1 or (found.height and column == "account_id"):
            return str(found["account_id"][0])
    matches = match_names(wanted, names, {}, lambda _: frozenset())
    exact = [account_id for account_id, match in matches if match.is_exact]
    if len(exact) == 1:
        return exact[0]
    near = names.filter(pl.col("account_id").is_in([account_id for account_id, _ in matches[:3]]))
    shown = ", ".join(
        f"{handle} ({account_id})" for account_id, handle in near.select("account_id", "handle").iter_rows()
    )
    hint = f"; the nearest known: {shown}." if shown else "; give an account id or a handle."
    raise ValueError(f"{'Several accounts are' if len(exact) > 1 else 'No account is'} called {name!r}{hint}")


def written(accounts: Accounts, name: str) -> str:
    """Return an account given by its id or handle as ``@handle`` if only it is called so, else as it is given."""
    with suppress(ValueError):
        own = resolve(accounts, name)
        handle = next((str(row["handle"]).lstrip("@") for row in accounts.attributes([own]) if row["handle"]), "")
        if handle and resolve(accounts, handle) == own:
            return f"@{handle}"
    return name


def both(asked: Question, like: Question) -> Question:
    """Return a query and an account as one question.

    The account counts by its vector; where the model cannot read its posts, by its terms.
    """
    if like.is_read:
        return replace(asked, dense=unit(asked.dense + like.dense))
    weights = {**weights_of(like.sparse), **weights_of(asked.asked)}
    terms = sorted(weights)
    return replace(asked, forms=SparseVector.of(terms, [weights[term] for term in terms]))


def profile(index: SearchIndex, terms: Terms, account_id: str, dimension: int) -> Question:
    """Return an account's newest posts as a question: the terms that set them apart, and the posts' mean vector.

    A post counts by those terms that it has, so that greetings, thanks and calls to subscribe do not. The vector is 0
    when the model can read none of them. Raises ValueError for an account without posts in the index, and for one whose
    posts have neither vectors nor terms, such as emoji alone.
    """
    chunks = terms.lake.scan(CHUNKS).filter(pl.col("account_id") == account_id)
    newest = chunks.sort("posted_at", "point_id", descending=True, nulls_last=True).head(_POSTS_READ)
    rows = newest.select("point_id", "terms").collect()
    vectors = index.vectors(rows["point_id"].to_list())
    if rows.is_empty():
        raise ValueError(f"Account {account_id!r} has no post in the index, so nothing is like it.")
    counts = Counter(term for of_chunk in rows["terms"].to_list() for term in of_chunk or [])
    if not vectors and not counts:
        raise ValueError(f"The posts of account {account_id!r} have no words, so nothing is like it.")
    strength = terms.distinctive(counts) or dict.fromkeys(counts, 1.0)
    chosen = sorted(strength, key=lambda term: (-strength[term], term))[:_TERMS_ASKED]
    [sparse] = terms.weigh([np.array(sorted(chosen), np.uint32)])
    has = {id_: sum(strength[term] for term in chosen if term in set(of or [])) for id_, of in rows.iter_rows()}
    weights = np.array([has[id_] for id_ in vectors], np.float32)
    mean = np.zeros(dimension, np.float32)
    if vectors:
        mean = np.average([*vectors.values()], axis=0, weights=weights if weights.any() else None)
    return Question(unit(np.asarray(mean, np.float32)), sparse)
