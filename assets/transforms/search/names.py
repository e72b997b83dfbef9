"""Find creators by handle, display name and bio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
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
_NAMES = ("_handle", "_name")
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
    key, folded = pl.select(_key_of(pl.lit(text)).alias("key"), _folded(pl.lit(text)).alias("folded")).row(0)
    words = folded.split()
    compared = accounts.select(
        _level(text, key).alias("level"),
        pl.col("_words").str.len_chars().fill_null(0).alias("length"),
        _hits(words).alias("hits"),
        *(pl.col(name).str.len_chars().fill_null(0).alias(f"{name}_length") for name in _NAMES),
        *(pl.col(name).str.contains(key, literal=True).fill_null(value=False).alias(f"{name}_part") for name in _NAMES),
    )
    level, near = compared["level"].to_numpy(), _similarities(key, accounts, compared, in_parts=in_parts)
    near = np.where(near >= LEAST_SIMILARITY, near, 0.0)
    coverage = _coverages(accounts["_words"], compared["hits"].to_numpy(), weights, terms_of)
    rows = np.flatnonzero((level > 0) | (near > 0) | (coverage >= LEAST_COVERAGE))
    found = zip(
        (-level[rows]).tolist(), (-near[rows]).tolist(), (-coverage[rows]).tolist(),
        compared["length"].to_numpy()[rows].tolist(), accounts["account_id"].gather(rows).to_list(), strict=True,
    )  # fmt: skip
    return [(account_id, _match(-up, -by, -of)) for up, by, of, _, account_id in nsmallest(MOST_FOUND, found)]


def _match(level: int, near: float, coverage: float) -> NameMatch:
    if level:
        return NameMatch("handle" if level > _OF_DISPLAY_NAME else "display name", 1.0, is_exact=True)
    if near:
        return NameMatch("handle", round(near, 4))
    return NameMatch("words", round(coverage, 4))


_OF_DISPLAY_NAME = 3


def _level(text: str, key: str) -> pl.Expr:
    """Return how exactly a name is the text: 6, 5 and 4 for the handle, 3, 2 and 1 for the display name, else 0."""
    level = pl.lit(0, pl.Int64)
    for base, name, stored in ((0, "display_name", "_name"), (_OF_DISPLAY_NAME, "handle", "_handle")):
        written = pl.col(name).str.strip_chars().str.strip_prefix("@")
        is_key = (pl.col(stored) == key) & pl.lit(bool(key))
        level = pl.when(is_key).then(base + 1).otherwise(level)
        level = pl.when(written.str.to_lowercase() == text.lower()).then(base + 2).otherwise(level)
        level = pl.when(written == text).then(base + 3).otherwise(level)
    return level


def _similarities(key: str, accounts: pl.DataFrame, compared: pl.DataFrame, *, in_parts: bool) -> NDArray[np.float64]:
    best = np.zeros(accounts.height)
    if not key or len(key) > _LONGEST_NAME:
        return best
    for column in _NAMES:
        names = accounts[column].to_list()
        close = process.cdist([key], names, scorer=fuzz.ratio, score_cutoff=100 * LEAST_SIMILARITY)[0] / 100
        best = np.maximum(best, close)
        if len(key) >= _LEAST_CONTAINED:
            share = len(key) / np.maximum(compared[f"{column}_length"].to_numpy(), len(key))
            contained = compared[f"{column}_part"].to_numpy().astype(np.float64)
            part = np.maximum(contained, _near_part(key, names)) if in_parts else contained
            best = np.maximum(best, part * (LEAST_SIMILARITY + (1 - LEAST_SIMILARITY) * share))
    return best


def _near_part(key: str, names: list[str | None]) -> NDArray[np.float64]:
    """Return how nearly a part of each name is the key; 0 below LEAST_PARTIAL."""
    near = process.cdist([key], names, scorer=fuzz.partial_ratio, score_cutoff=100 * LEAST_PARTIAL)[0]
    return np.asarray(near / 100, np.float64)


def _hits(words: Sequence[str]) -> pl.Expr:
    """Return how many of the parts of words the words of an account contain."""
    starts = sorted({start for word in words for start in _starts(word)})
    known = pl.col("_words").fill_null("")
    contained = [known.str.contains(start, literal=True).cast(pl.Int64) for start in starts]
    return pl.sum_horizontal(pl.lit(0, pl.Int64), *contained)


def _coverages(
    of_accounts: pl.Series, hits: NDArray[np.int64], weights: Mapping[int, float], terms_of: Terms
) -> NDArray[np.float64]:
    """Return the share of the query's weights that each account's words have. The best MOST_COMPARED are compared."""
    coverages, total = np.zeros(len(of_accounts)), sum(weights.values())
    rows = np.flatnonzero(hits > 0)
    if total:
        for row in rows[np.argsort(-hits[rows], kind="stable")][:MOST_COMPARED].tolist():
            found = terms_of(of_accounts[row])
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
