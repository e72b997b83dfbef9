"""Extractive summaries: an account in its own most representative posts."""

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl

POSTS_PER_SUMMARY = 3
EXCERPT_CHARACTERS = 280
LEAST_ALIKE = 0.95
"""Of an account's texts, how many have to be those that its summary was made of (Jaccard) for it to stand. A new post
moves the centre of a hundred by next to nothing, and making a summary reads all of them."""
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


def text_names(chunks: pl.DataFrame) -> pl.DataFrame:
    """(account_id, post_id, text_name): 64 bits of a hash of each chunk's post, number and text."""
    parts = chunks.select("post_id", "chunk_no", "content_hash").iter_rows()
    digests = (hashlib.blake2b(repr(part).encode(), digest_size=8).digest() for part in parts)
    names = [int.from_bytes(digest, "big", signed=True) for digest in digests]
    return chunks.select("account_id", "post_id", text_name=pl.Series(names, dtype=pl.Int64))


def still_standing(summaries: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """The accounts (account_id) whose summary stands: the posts that it cites are as they were, and so are most others.

    ``summaries`` has (account_id, post_ids, made_of), ``texts`` is of ``text_names``. At least LEAST_ALIKE of all
    texts, those of then and those of now, have to be both.
    """
    then = summaries.select("account_id", text_name="made_of_texts").explode("text_name").drop_nulls()
    key = ["account_id", "text_name"]
    counts = [
        frame.group_by("account_id").agg(pl.len().alias(name))
        for name, frame in (("then", then), ("now", texts), ("both", texts.join(then, on=key, how="semi")))
    ]
    alike = counts[0].join(counts[1], on="account_id").join(counts[2], on="account_id")
    alike = alike.filter(pl.col("both") >= LEAST_ALIKE * (pl.col("then") + pl.col("now") - pl.col("both")))
    cited = summaries.select("account_id", post_id="post_ids").explode("post_id")
    post = ["account_id", "post_id"]
    gone = cited.join(texts, on=post, how="anti")
    changed = cited.join(texts.join(then, on=key, how="anti"), on=post, how="semi")
    broken = pl.concat([gone, changed]).select("account_id")
    return alike.join(broken, on="account_id", how="anti").select("account_id")
