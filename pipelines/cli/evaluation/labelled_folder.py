"""Read a labelled folder in the source schema: posts with the vectors of their chunks, and the agreed labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.embeddings import embedded
from assets.transforms.labels.votes import agree, judge, voters, with_reasons
from assets.transforms.text.chunking import chunk_text
from assets.transforms.text.corpus import post_texts
from pipelines.samples.folder import SourceFile, open_folder
from resources.errors import InputError
from resources.models.embedder import EmbeddingModel
from resources.models.languages import identify

_CHUNK: dict[str, pl.DataType | type[pl.DataType]] = {
    "account_bucket": pl.Int32,
    "account_id": pl.String,
    "post_id": pl.String,
    "posted_at": pl.Datetime("us", "UTC"),
    "text_hash": pl.String,
    "chunk_no": pl.Int32,
    "text_language": pl.String,
    "text": pl.String,
}


@dataclass(frozen=True)
class LabelledFolder:
    """``gold``: (item_kind, item_id, account_id, vertical, is_member). ``chunks`` of the posts that are labelled, or of
    labelled accounts, and their ``vectors``. ``unused``: reason → number of label rows that are not counted.
    """

    gold: pl.DataFrame
    chunks: pl.DataFrame
    vectors: npt.NDArray[np.float32]
    unused: dict[str, int]


def read_labelled(folder: Path, model: EmbeddingModel, verticals: Sequence[str]) -> LabelledFolder:
    """Read and embed a folder. Raise InputError for a folder without usable labels."""
    files = open_folder(folder)
    if "labels" not in files:
        raise InputError(f"{folder} has no labels.parquet; expected labels of its posts or accounts.")
    posts = _columns(files["posts"], ["post_id", "account_id", "posted_at", "text", "hashtags"])
    accounts = _columns(files["accounts"], ["account_id"])
    owners = pl.concat(
        [
            posts.select(pl.lit("post").alias("item_kind"), item_id="post_id", account_id="account_id"),
            accounts.select(pl.lit("account").alias("item_kind"), item_id="account_id", account_id="account_id"),
        ]
    ).unique(["item_kind", "item_id"])
    votes = _votes(files["labels"])
    judged = judge(votes.filter(pl.col("reason").is_null()).drop("reason"), set(verticals), owners)
    reasons = pl.concat([votes["reason"], judged["reason"]]).drop_nulls().value_counts().iter_rows()
    gold = agree(judged.filter(pl.col("reason").is_null()).drop("reason"))
    if gold.is_empty():
        raise InputError(f"{folder / 'labels.parquet'} has no label of a post or account and vertical that are known.")
    labelled = gold.filter(item_kind="post")["item_id"].implode()
    owning = gold.filter(item_kind="account")["item_id"].implode()
    chunks = _chunks(posts.filter(pl.col("post_id").is_in(labelled) | pl.col("account_id").is_in(owning)), model)
    columns = ["item_kind", "item_id", "account_id", "vertical", "is_member"]
    vectors = embedded(model, chunks["text"].to_list())
    unused = {reason.replace("the lake", "the folder"): count for reason, count in reasons}
    return LabelledFolder(gold.select(columns), chunks.drop("text"), vectors, unused)


def _columns(file: SourceFile, names: list[str]) -> pl.DataFrame:
    batches = [pl.DataFrame(pl.from_arrow(batch.select(names))) for batch in file.batches()]
    if not batches:
        raise InputError(f"{file.path} has no rows; expected some.")
    return pl.concat(batches)


def _votes(file: SourceFile) -> pl.DataFrame:
    found = [pl.DataFrame(pl.from_arrow(batch)) for batch in file.batches()]
    if not found:
        raise InputError(f"{file.path} has no rows; expected labels of posts or accounts.")
    rows = pl.concat(found).with_columns(source_file=pl.lit("labels.parquet")).with_row_index("row")
    named = rows.with_columns(
        dropped_at=pl.lit(None, pl.Datetime("us", "UTC")),
        voter=voters(pl.col("annotator"), pl.col("source_file")),
        is_review=pl.col("is_review").fill_null(value=False),
    )
    return with_reasons(named)


def _chunks(posts: pl.DataFrame, model: EmbeddingModel) -> pl.DataFrame:
    """Return the chunks that the corpus would have, of every post: near-duplicates and posts over the cap as well."""
    texts = post_texts(posts)
    offsets = model.tokenizer.token_offsets(model.legible(texts))
    rows = [
        (0, account, post, posted_at, "", chunk.chunk_no, language, chunk.text)
        for account, post, posted_at, text, language, of_text in zip(
            posts["account_id"], posts["post_id"], posts["posted_at"], texts, identify(texts), offsets, strict=True
        )
        for chunk in chunk_text(text, of_text, model.max_content_tokens).chunks
    ]
    return pl.DataFrame(rows, schema=_CHUNK, orient="row")
