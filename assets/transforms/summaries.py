"""Write extractive summaries: an account in its own most representative posts."""

import numpy as np
import numpy.typing as npt
import polars as pl

POSTS_PER_SUMMARY = 3
EXCERPT_CHARACTERS = 280
LEAST_ALIKE = 0.95
"""A summary is kept while the texts that it was made of and the account's texts now have this Jaccard similarity. One
new post among a hundred hardly moves their centre, and making a summary reads all of them."""
_DIVERSITY = 0.5
"""Weight of novelty against representativeness (maximal marginal relevance, Carbonell and Goldstein 1998). At 0.3 three
near-equal posts were chosen before a different one."""
SUMMARIES_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "account_bucket": pl.Int32,
    "account_id": pl.String,
    "summary": pl.String,
    "post_ids": pl.List(pl.String),
    "posts": pl.Int64,
}


def representatives(vectors: npt.NDArray[np.float32], count: int) -> list[int]:
    """Return the numbers of the most representative rows: near the centroid, and unlike the rows already chosen.

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
    """Return the beginning of a text. A longer text is cut, at a space in its second half if any, and gets an "…"."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    cut = head.rfind(" ")
    return (head[:cut] if cut > limit // 2 else head).rstrip() + "…"


def summarise(chunks: pl.DataFrame, vectors: npt.NDArray[np.float32]) -> pl.DataFrame:
    """Return one row per account: (account_bucket, account_id, summary, post_ids, posts).

    ``chunks`` has (account_bucket, account_id, post_id, chunk_no, text), one row per vector. A post's vector is the
    mean of its chunks', and its text that of the first.
    """
    rows = []
    ordered = chunks.with_row_index("_row").sort("account_id", "post_id", "chunk_no")
    for (bucket, account), group in ordered.group_by("account_bucket", "account_id", maintain_order=True):
        posts = group.group_by("post_id", maintain_order=True).agg("_row", pl.col("text").first())
        means = np.stack([vectors[index].mean(axis=0) for index in posts["_row"].to_list()])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        chosen = posts[representatives(means.astype(np.float32), POSTS_PER_SUMMARY)]
        text = "\n".join(map(excerpt, chosen["text"]))
        rows.append((bucket, account, text, chosen["post_id"].to_list(), posts.height))
    return pl.DataFrame(rows, schema=SUMMARIES_SCHEMA, orient="row")


def text_names(chunks: pl.DataFrame) -> pl.DataFrame:
    """Return (account_id, post_id, text_name): 64 bits of a hash of each chunk's post, number and text.

    Another version of polars may hash differently; summaries are then made once more.
    """
    parts = [pl.col(name).hash(number) for number, name in enumerate(("post_id", "chunk_no", "content_hash"))]
    return chunks.select("account_id", "post_id", text_name=pl.sum_horizontal(parts).reinterpret(signed=True))


def current_summaries(summaries: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Return the accounts (account_id) whose summary is kept: no cited post changed, and few of the others did.

    ``summaries`` has (account_id, post_ids, made_of_texts); ``texts`` is the result of ``text_names``. LEAST_ALIKE says
    how many texts may change.
    """
    then = summaries.select("account_id", text_name="made_of_texts").explode("text_name").drop_nulls()
    marked = texts.join(then.with_columns(both=True), on=["account_id", "text_name"], how="left", maintain_order="left")
    counts = marked.group_by("account_id").agg(now=pl.len(), both=pl.col("both").count())
    alike = counts.join(then.group_by("account_id").agg(then=pl.len()), on="account_id").filter(
        pl.col("both") >= LEAST_ALIKE * (pl.col("then") + pl.col("now") - pl.col("both"))
    )
    unchanged = marked.group_by("account_id", "post_id").agg(pl.col("both").is_not_null().all()).filter("both")
    cited = summaries.select("account_id", post_id="post_ids").explode("post_id")
    broken = cited.join(unchanged, on=["account_id", "post_id"], how="anti")
    return alike.join(broken, on="account_id", how="anti").select("account_id")
