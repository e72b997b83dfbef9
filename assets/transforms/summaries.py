"""Extractive summaries: an account in its own most representative posts.

Belongs here: choosing posts by vector. Not here: asking a language model.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

POSTS_PER_SUMMARY = 3
EXCERPT_CHARACTERS = 280
_DIVERSITY = 0.5
"""Weight of novelty against representativeness (maximal marginal relevance, Carbonell and Goldstein 1998); at 0.3 three
near-equal posts were chosen over a different one."""


def representatives(vectors: npt.NDArray[np.float32], count: int) -> list[int]:
    """Rows that stand for all rows, most representative first: near the centroid, and unlike those already chosen.

    ``vectors`` is (rows, dimension) of unit length. Ties go to the earlier row, so order the rows by id.
    """
    centre = vectors.mean(axis=0)
    relevance = np.round(vectors @ centre / max(float(np.linalg.norm(centre)), 1e-12), 5)
    chosen: list[int] = []
    novelty_cost = np.zeros(len(vectors))
    for _ in range(min(count, len(vectors))):
        gain = (1 - _DIVERSITY) * relevance - _DIVERSITY * novelty_cost
        gain[chosen] = -np.inf
        best = int(np.argmax(np.round(gain, 5)))
        chosen.append(best)
        novelty_cost = np.maximum(novelty_cost, vectors @ vectors[best])
    return chosen


def excerpt(text: str, limit: int = EXCERPT_CHARACTERS) -> str:
    """The beginning of a text, cut at a word where there is one, with an ellipsis where it was cut."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    cut = head.rfind(" ")
    return (head[:cut] if cut > limit // 2 else head).rstrip() + "…"


def summarise(chunks: pl.DataFrame, vectors: npt.NDArray[np.float32]) -> pl.DataFrame:
    """One row an account: (account_bucket, account_id, summary, post_ids, posts).

    ``chunks`` has (account_bucket, account_id, post_id, chunk_no, text), a row a vector. A post is represented by
    the mean of its chunks, and shown by its first.
    """
    rows = []
    ordered = chunks.with_row_index("_row").sort("account_id", "post_id", "chunk_no")
    for (bucket, account), group in ordered.group_by("account_bucket", "account_id", maintain_order=True):
        posts = group.group_by("post_id", maintain_order=True).agg("_row", pl.col("text").first())
        means = np.stack([vectors[index].mean(axis=0) for index in posts["_row"].to_list()])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        chosen = posts[representatives(means.astype(np.float32), POSTS_PER_SUMMARY)]
        text = "\n".join(excerpt(value) for value in chosen["text"])
        rows.append((bucket, account, text, chosen["post_id"].to_list(), posts.height))
    return pl.DataFrame(rows, schema=SUMMARIES_SCHEMA, orient="row")


SUMMARIES_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "account_bucket": pl.Int32,
    "account_id": pl.String,
    "summary": pl.String,
    "post_ids": pl.List(pl.String),
    "posts": pl.Int64,
}
