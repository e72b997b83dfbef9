"""Choose the posts of an account that a language model reads: some of every subject, within a budget of tokens."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import polars as pl
from numpy.typing import NDArray

POST_TOKENS, POST_CHARACTERS = 180, 700
"""Of a post, no more than its beginning is sent; it costs at most so many tokens of the budget."""
_MOST_CLUSTERS, _ROUNDS = 12, 8


def clusters(vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the number of each row's cluster: spherical k-means, which starts from rows far from each other.

    ``vectors`` is (rows, dimension) of unit length. No chance is involved: equal rows in equal order have equal
    clusters. Time: rows × _MOST_CLUSTERS × dimension.
    """
    count = min(_MOST_CLUSTERS, int(np.ceil(np.sqrt(len(vectors) / 2))))
    chosen = [int(np.argmax(np.round(vectors @ vectors.mean(axis=0), 5)))]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(np.argmin(np.round(nearest, 5))))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    centres = vectors[chosen]
    for _ in range(_ROUNDS):
        of_row = np.argmax(np.round(vectors @ centres.T, 5), axis=1)
        means = np.stack(
            [vectors[of_row == k].mean(axis=0) if (of_row == k).any() else centres[k] for k in range(count)]
        )
        centres = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return np.asarray(np.argmax(np.round(vectors @ centres.T, 5), axis=1))


def sample(posts: pl.DataFrame, vectors: NDArray[np.float32], budget_tokens: int) -> list[str]:
    """Return the ids of the posts to send, in the order in which they were chosen.

    ``posts`` (post_id, text, tokens, posted_at, engagement) has one row per vector. Equal texts count once. Every
    cluster has a post while the budget lasts, and then its share by its size: in turns its newest and most engaging.
    """
    rows = posts.with_row_index("_row").sort("post_id").unique("text", keep="first", maintain_order=True)
    if rows.is_empty():
        return []
    of_row = clusters(vectors[rows["_row"].to_numpy()])
    tokens = rows["tokens"].clip(upper_bound=POST_TOKENS).to_list()
    newest = rows.with_row_index("_n").sort("posted_at", "post_id", descending=True, nulls_last=True)["_n"].to_list()
    loudest = (
        rows.with_row_index("_n")
        .sort("engagement", "posted_at", "post_id", descending=True, nulls_last=True)["_n"]
        .to_list()
    )
    waiting = {
        k: _in_turns([n for n in newest if of_row[n] == k], [n for n in loudest if of_row[n] == k])
        for k in sorted(set(of_row.tolist()))
    }
    sizes, taken = {k: len(numbers) for k, numbers in waiting.items()}, dict.fromkeys(waiting, 0)
    chosen, left = [], budget_tokens
    while waiting:
        k = min(waiting, key=lambda k: (taken[k] > 0, -sizes[k] / (taken[k] + 1), k))
        number = next((n for n in waiting[k] if tokens[n] <= left), None)
        if number is None:
            del waiting[k]
            continue
        waiting[k].remove(number)
        taken[k] += 1
        left -= tokens[number]
        chosen.append(rows["post_id"][number])
    return chosen


def _in_turns(newest: Sequence[int], loudest: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(n for pair in zip_longest(newest, loudest) for n in pair if n is not None))
