"""Decide which summaries stand, from the texts that they were made of."""

import polars as pl

LEAST_ALIKE = 0.95
"""A summary is kept while the texts that it was made of and the account's texts now have this Jaccard similarity. One
new post among a hundred hardly moves their centre, and making a summary reads all of them."""


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
    cited = summaries.select("account_id", post_id="post_ids").explode("post_id").drop_nulls()
    broken = cited.join(unchanged, on=["account_id", "post_id"], how="anti")
    return alike.join(broken, on="account_id", how="anti").select("account_id")
