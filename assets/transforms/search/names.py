"""Find creators by handle, display name and bio."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from assets.transforms.search.query_language import UNSPACED, Terms

LEAST_SIMILARITY = 0.75
"""Of a near-miss: the share of letters that two names have in common, in order (a normalised indel similarity)."""
LEAST_PARTIAL = 0.8
"""The same of a part of a name, where creators are asked for by name."""
LEAST_COVERAGE = 0.5
"""Of a name or bio with words of the query: their share of the query's IDF weights."""
MOST_COMPARED, MOST_FOUND = 2_000, 100
"""Accounts whose words are compared, and accounts that are returned; the best of them."""
_LONGEST_NAME, _LEAST_CONTAINED = 60, 4
_NOT_OF_NAMES = r"[^\p{L}\p{N}\p{M}]+"
_ACCENTS = "[\u0300-\u036f]"
_STEM = 3
"""Letters at the end of a word that its forms may differ by, for the first and coarse selection."""

Field = Literal["handle", "display name", "words"]


@dataclass(frozen=True)
class NameMatch:
    """How an account's name fits a query.

    ``is_exact``: the handle or the display name is the query. ``field`` is what fits: the handle, the display name, or
    the ``words`` of both and the bio. ``similarity`` is 0 to 1: of letters for names, of the query's weights for words.
    """

    field: Field
    similarity: float
    is_exact: bool = False


def folded_names(accounts: pl.DataFrame) -> pl.DataFrame:
    """Return accounts with ``_handle`` and ``_name``, their keys, and ``_words``: handle, name and bio, folded."""
    words = pl.concat_str("handle", "display_name", "bio", separator=" ", ignore_nulls=True)
    return accounts.with_columns(_handle=_key("handle"), _name=_key("display_name"), _words=_folded(words))


def match_names(
    text: str, accounts: pl.DataFrame, weights: Mapping[int, float], terms_of: Terms, *, in_parts: bool = False
) -> list[tuple[str, NameMatch]]:
    """Return (account_id, match) of the accounts that fit, best first, at most MOST_FOUND.

    ``accounts`` are ``folded_names``, ``weights`` the IDF weights of the query's terms. First those whose handle is the
    query: letter by letter, then but for case, then but for accents, spaces and punctuation. Then those whose display
    name is, then near-misses by similarity, then those with most of the query's words. ``in_parts``: near-misses of a
    part of a name are near-misses too.
    """
    if not text or accounts.is_empty():
        return []
    exact = accounts.select(
        "account_id",
        "_words",
        level=_level(text),
        similarity=pl.Series(_similarities(text, accounts, in_parts=in_parts)),
    )
    exact = exact.with_columns(pl.Series("coverage", _coverages(text, accounts, weights, terms_of)))
    found = exact.filter(
        (pl.col("level") > 0) | (pl.col("similarity") >= LEAST_SIMILARITY) | (pl.col("coverage") >= LEAST_COVERAGE)
    )
    near = pl.when(pl.col("similarity") >= LEAST_SIMILARITY).then("similarity").otherwise(0.0)
    length = pl.col("_words").str.len_chars()
    ranked = found.sort(
        pl.col("level"), near, pl.col("coverage"), -length.cast(pl.Int64), "account_id",
        descending=[True, True, True, True, False],
    )  # fmt: skip
    columns = ranked.head(MOST_FOUND).select("account_id", "level", near.alias("near"), "coverage")
    return [(account_id, _match(*values)) for account_id, *values in columns.iter_rows()]


def _match(level: int, near: float, coverage: float) -> NameMatch:
    if level:
        return NameMatch("handle" if level > _OF_DISPLAY_NAME else "display name", 1.0, is_exact=True)
    if near:
        return NameMatch("handle", round(near, 4))
    return NameMatch("words", round(coverage, 4))


_OF_DISPLAY_NAME = 3


def _level(text: str) -> pl.Expr:
    """Return how exactly a name is the text: 6, 5 and 4 for the handle, 3, 2 and 1 for the display name, else 0."""
    key = pl.select(_key_of(pl.lit(text))).item()
    level = pl.lit(0)
    for base, name, stored in ((0, "display_name", "_name"), (_OF_DISPLAY_NAME, "handle", "_handle")):
        written = pl.col(name).str.strip_chars().str.strip_prefix("@")
        is_key = (pl.col(stored) == key) & pl.lit(bool(key))
        level = pl.when(is_key).then(base + 1).otherwise(level)
        level = pl.when(written.str.to_lowercase() == text.lower()).then(base + 2).otherwise(level)
        level = pl.when(written == text).then(base + 3).otherwise(level)
    return level


def _similarities(text: str, accounts: pl.DataFrame, *, in_parts: bool) -> NDArray[np.float64]:
    key = pl.select(_key_of(pl.lit(text))).item() or ""
    if not key or len(key) > _LONGEST_NAME:
        return np.zeros(accounts.height)
    best = np.zeros(accounts.height)
    for column in ("_handle", "_name"):
        names = accounts[column].fill_null("")
        close = process.cdist([key], names.to_list(), scorer=fuzz.ratio, score_cutoff=100 * LEAST_SIMILARITY)[0] / 100
        best = np.maximum(best, close)
        if len(key) >= _LEAST_CONTAINED:
            share = (len(key) / names.str.len_chars().clip(len(key))).to_numpy()
            part = _in_part(key, names, in_parts=in_parts) * (LEAST_SIMILARITY + (1 - LEAST_SIMILARITY) * share)
            best = np.maximum(best, part)
    return best


def _in_part(key: str, names: pl.Series, *, in_parts: bool) -> NDArray[np.float64]:
    """Return 1 for a name that contains the key, and less for one that contains it nearly, if wanted; else 0."""
    contained = names.str.contains(key, literal=True).to_numpy().astype(np.float64)
    if not in_parts:
        return contained
    near = process.cdist([key], names.to_list(), scorer=fuzz.partial_ratio, score_cutoff=100 * LEAST_PARTIAL)[0] / 100
    return np.where(near > contained, near, contained)


def _coverages(text: str, accounts: pl.DataFrame, weights: Mapping[int, float], terms_of: Terms) -> NDArray[np.float64]:
    """Return the share of the query's weights that each account's words have. The best MOST_COMPARED are compared."""
    coverages, total = np.zeros(accounts.height), sum(weights.values())
    words = pl.select(_folded(pl.lit(text))).item().split()
    if not words or not total:
        return coverages
    starts = {start for word in words for start in _starts(word)}
    hits = accounts.select(
        pl.sum_horizontal(pl.col("_words").fill_null("").str.contains(start, literal=True) for start in sorted(starts))
    ).to_series()
    best = (
        hits.to_frame("hits")
        .with_row_index("row")
        .filter(pl.col("hits") > 0)
        .sort("hits", "row", descending=[True, False])
    )
    for row in best.head(MOST_COMPARED)["row"].to_list():
        found = terms_of(accounts["_words"][row])
        coverages[row] = sum(weight for term, weight in weights.items() if term in found) / total
    return coverages


def _starts(word: str) -> list[str]:
    """Return the parts of a word, one of which every text with a form of the word has."""
    if not UNSPACED.search(word):
        return [word[: max(len(word) - _STEM, _LEAST_CONTAINED)]]
    return [word[place : place + 2] for place in range(max(len(word) - 1, 1))]


def _key(name: str) -> pl.Expr:
    return _key_of(pl.col(name))


def _key_of(text: pl.Expr) -> pl.Expr:
    """Return letters, digits and marks only, folded; for a name without any, the name itself."""
    bare = _folded(text).str.replace_all(_NOT_OF_NAMES, "")
    return pl.when(bare != "").then(bare).otherwise(text.str.strip_chars().str.strip_prefix("@"))


def _folded(text: pl.Expr) -> pl.Expr:
    plain = text.str.normalize("NFKD").str.replace_all(_ACCENTS, "").str.normalize("NFKC")
    return plain.str.to_lowercase()
