"""The language model's answers as a method of tagging: calibrated on labels, and scored beside the local methods."""

import numpy as np
import polars as pl

from assets.corpus import CHUNKS
from assets.labels.gold import GOLD
from assets.transforms.verticals.scoring import scored
from assets.transforms.verticals.taggers.cascade import CASCADE, CascadeTagger, answer_matrix, fit, merged
from assets.transforms.verticals.taggers.interface import Floats
from assets.transforms.verticals.taggers.labels import label_matrix
from assets.transforms.verticals.taggers.methods import packed
from assets.verticals.model_tags import MODEL_TAGS
from resources.catalogues import load_verticals
from resources.delta.table import LakeResource, fingerprint

_RULE = "1"


def answers(lake: LakeResource, bucket: int | None = None) -> pl.LazyFrame:
    """Return (account_id, post_id, text_hash, verticals) of posts that the language model answered."""
    rows = lake.scan(MODEL_TAGS) if bucket is None else lake.scan_cached(MODEL_TAGS, bucket)
    return rows.drop_nulls("verticals").select("account_id", "post_id", "text_hash", "verticals")


def has_answers(lake: LakeResource) -> bool:
    """Return whether the language model is a method now."""
    return answers(lake).head(1).collect().height > 0


def labelled_answers(lake: LakeResource) -> pl.DataFrame:
    """Return the answers about posts of accounts with a label, by post."""
    labelled = lake.scan(GOLD).select("account_id").unique()
    return answers(lake).join(labelled, on="account_id", how="semi").sort("post_id").collect()


def answers_version(found: pl.DataFrame) -> str:
    """Return a hash of answers."""
    return fingerprint([_RULE, *(str(part) for row in found.iter_rows() for part in row)])


def cascade_tagger(lake: LakeResource) -> tuple[CascadeTagger, str] | None:
    """Return the answers' calibration and its version; None without any answer."""
    if not has_answers(lake):
        return None
    found, names = labelled_answers(lake), [vertical.name for vertical in load_verticals()]
    posts = found.drop("verticals").lazy().join(_languages(lake.scan(CHUNKS)), on="post_id").sort("post_id").collect()
    labels = label_matrix(posts, lake.scan(GOLD).collect(), names)
    tagger = fit(answer_matrix(posts, found, names), labels, _texts(posts))
    return tagger, fingerprint([_RULE, packed(tagger).hex()])


def cascade_scores(lake: LakeResource, bucket: int | None, local: pl.DataFrame, tagger: CascadeTagger) -> pl.DataFrame:
    """Return the rows of the cascade for the posts of a bucket, of the local methods' rows."""
    of_methods = local.sort("item_id").partition_by("method", maintain_order=True)
    first, names = of_methods[0], [vertical.name for vertical in load_verticals()]
    posts = first.select("account_bucket", "account_id", "text_hash", post_id="item_id")
    languages = _languages(lake.scan_cached(CHUNKS, bucket)).collect()
    posts = posts.join(languages, on="post_id", how="left", maintain_order="left")
    said = answer_matrix(posts, answers(lake, bucket).collect(), names)
    found = merged({rows["method"][0]: _matrix(rows, len(names)) for rows in of_methods})
    return scored(posts, tagger.probabilities(found, said, _texts(posts)), CASCADE)


def _languages(chunks: pl.LazyFrame) -> pl.LazyFrame:
    return chunks.filter(pl.col("chunk_no") == 0).select("post_id", "text_language")


def _texts(posts: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    return posts["text_language"].fill_null("").to_numpy().astype(np.str_)


def _matrix(rows: pl.DataFrame, verticals: int) -> Floats:
    """Return the scores of posts, NaN for an abstention."""
    flat = rows["scores"].explode().cast(pl.Float64).fill_null(np.nan)
    return flat.to_numpy().reshape(-1, verticals)
