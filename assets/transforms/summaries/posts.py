"""Choose the posts that an account's summary is made of."""

import numpy as np
import numpy.typing as npt
import polars as pl

POSTS_READ = 40
"""The most posts of an account whose sentences are ranked. Ranking takes time and memory of their number squared."""
_DIVERSITY = 0.5
"""Weight of novelty against representativeness (maximal marginal relevance, Carbonell and Goldstein 1998). At 0.3 three
near-equal posts were chosen before a different one."""
CHOSEN_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "account_bucket": pl.Int32,
    "account_id": pl.String,
    "post_id": pl.String,
    "language": pl.String,
    "centrality": pl.Float64,
    "posts": pl.Int64,
    "excerpt": pl.String,
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


def chosen_posts(chunks: pl.DataFrame, vectors: npt.NDArray[np.float32]) -> pl.DataFrame:
    """Return the posts that summaries are made of, up to POSTS_READ an account, in the columns of CHOSEN_SCHEMA.

    They are of the language that most of the account's posts are in. ``chunks`` has (account_bucket, account_id,
    post_id, chunk_no, text, text_language), one row per vector. A post's vector is the mean of its chunks'.
    ``centrality`` is its cosine to the account's mean, at least 0; ``posts`` counts all posts of the account.
    """
    rows = []
    ordered = chunks.with_row_index("_row").sort("account_id", "post_id", "chunk_no")
    for (bucket, account), group in ordered.group_by("account_bucket", "account_id", maintain_order=True):
        posts = group.group_by("post_id", maintain_order=True).agg(
            "_row", pl.col("text").first(), language=pl.col("text_language").first().fill_null("")
        )
        language = posts["language"].value_counts(sort=True).sort("count", "language", descending=[True, False])[0, 0]
        spoken = posts.filter(language=language)
        means = np.stack([vectors[index].mean(axis=0) for index in spoken["_row"].to_list()])
        means = (means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)).astype(np.float32)
        centre = means.mean(axis=0)
        cosines = np.maximum(means @ centre / max(float(np.linalg.norm(centre)), 1e-12), 0).astype(float)
        for number in representatives(means, POSTS_READ):
            post, text = spoken["post_id"][number], spoken["text"][number]
            rows.append((bucket, account, post, language, round(cosines[number], 5), posts.height, text))
    return pl.DataFrame(rows, schema=CHOSEN_SCHEMA, orient="row")
