"""Features of posts from the vectors of their chunks."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.transforms.verticals.taggers.interface import Floats, Posts

Vectors = npt.NDArray[np.float32]
_SOFTNESS = 1.5
"""Of the maximum over descriptions, in standard deviations of a row's cosines: those of e5 differ a quarter as much as
those of MiniLM. On English tweets macro-F1 was .45 with a hard maximum and .50 with a soft one."""
_LEAST_SOFTNESS = 1e-3
_LEAST_SPREAD = 1e-6
"""Below this the cosines of a row differ by rounding alone."""


def similarity(vectors: Vectors, verticals: Mapping[str, Vectors]) -> Floats:
    """Return the soft maximum of the cosines to each vertical's descriptions, shape (rows, verticals).

    ``verticals``: name → vectors of the descriptions, shape (descriptions, dimension). Vectors have unit length.
    """
    texts = [vectors_of.astype(np.float64) for vectors_of in verticals.values()]
    cosines = vectors.astype(np.float64) @ np.concatenate(texts).T
    softness = np.maximum(_SOFTNESS * cosines.std(axis=1, keepdims=True), _LEAST_SOFTNESS)
    columns = []
    for own in np.split(cosines, np.cumsum([len(vectors_of) for vectors_of in texts])[:-1], axis=1):
        nearest = own.max(axis=1, keepdims=True)
        columns.append(nearest + softness * np.log(np.exp((own - nearest) / softness).mean(axis=1, keepdims=True)))
    return np.concatenate(columns, axis=1)


def standardise(cosines: Floats) -> Floats:
    """Return by how many standard deviations each cosine lies above its row's mean, shape (rows, verticals).

    A raw cosine depends on a text's language and length as much as on its subject. Against the same labels, with
    thresholds fitted in 5 folds, standardising raised macro-F1 from .44 to .47 on video posts, .42 to .48 on their
    accounts and .38 to .48 on English tweets. A row that is equally near to every vertical scores 0 for all.
    """
    above = cosines - cosines.mean(axis=1, keepdims=True)
    spread = np.sqrt((above**2).mean(axis=1, keepdims=True))
    scores: Floats = np.divide(above, spread, out=np.zeros_like(above), where=spread > _LEAST_SPREAD)
    return scores


def features(chunks: pl.DataFrame, vectors: Vectors, verticals: Mapping[str, Vectors]) -> tuple[pl.DataFrame, Posts]:
    """Return one row per post of ``chunks``, sorted by post_id, without chunk columns, and the features of these posts.

    ``chunks`` has (post_id, chunk_no, text_language) and any columns of the post; ``vectors`` are theirs. The nearness
    of a post is that of its best chunk, because a long description ends in links and thanks; its vector is the mean.
    """
    order = chunks.select(pl.arg_sort_by("post_id", "chunk_no")).to_series().to_numpy()
    rows, ordered = chunks[order], vectors[order]
    posts = rows.unique("post_id", keep="first", maintain_order=True)
    if not rows.height:
        empty = np.empty((0, len(verticals)))
        return posts, Posts(ordered, empty, np.empty(0, np.str_))
    starts = np.flatnonzero(np.r_[True, (rows["post_id"] != rows["post_id"].shift()).fill_null(value=True)[1:]])
    # Single precision cuts off the last bits, which depend on how many rows are multiplied at once.
    cosines = similarity(ordered, verticals).astype(np.float32).astype(np.float64)
    sums = np.add.reduceat(ordered.astype(np.float64), starts)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0).astype(np.float32)
    languages = posts["text_language"].fill_null("").to_numpy().astype(np.str_)
    return posts, Posts(means, standardise(np.maximum.reduceat(cosines, starts)), languages)
