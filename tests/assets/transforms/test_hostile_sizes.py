"""A hostile account or post costs at most in proportion to its size, and most of it only up to a limit.

Counts are compared, not times; `make bench NAME=hostile` measures the times at full size.
"""

import unicodedata
from collections.abc import Sequence

import pytest

from assets.transforms.text import corpus, near_duplicates
from assets.transforms.text.cleaning import MAX_CHARACTERS, clean, clean_lines
from assets.transforms.text.corpus import decide
from assets.transforms.text.marks import long_runs_of_marks
from assets.transforms.text.near_duplicates import Parts, shingles
from resources.vectors.bm25 import SparseEncoder
from tests.worlds.hostile_sizes import account_of, hashtags_of, landed, text_of

CAP = 30


@pytest.mark.parametrize("posts", [1_000, 2_000, 4_000])
def test_of_an_account_with_a_million_posts_few_are_compared_and_each_is_read_once(
    posts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million posts are 1,000,000 readings and at most 100,000 comparisons' worth of texts."""
    read, compared = 0, []
    once, alike = clean_lines, near_duplicates.near_duplicates

    def reading(text: str | None) -> list[str]:
        nonlocal read
        read += 1
        return once(text)

    def comparing(texts: Sequence[str | Parts]) -> list[int | None]:
        compared.append(len(texts))
        return alike(texts)

    monkeypatch.setattr(corpus, "clean_lines", reading)
    monkeypatch.setattr(corpus, "near_duplicates", comparing)
    decided = decide(*account_of(posts), CAP)
    assert (read, compared) == (posts, [CAP * corpus.COMPARED_PER_KEPT])
    assert decided["dropped_because"].null_count() <= CAP
    assert corpus.MAX_POSTS_PER_ACCOUNT * corpus.COMPARED_PER_KEPT == 100_000


@pytest.mark.parametrize("megabytes", [1, 10, 100])
def test_of_a_post_of_100_mb_every_stage_sees_the_same_beginning(
    megabytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stage after cleaning sees more than 60,000 characters, and cleaning normalizes as much as of a small post."""
    seen, normalize = list[int](), unicodedata.normalize
    long_runs_of_marks()  # normalizes every mark by itself

    def normalizing(form: str, text: str) -> str:
        seen.append(len(text))
        return normalize(form, text)  # type: ignore[arg-type]

    monkeypatch.setattr(unicodedata, "normalize", normalizing)
    text = clean(text_of(megabytes << 20))
    normalized = sum(seen)
    seen.clear()
    assert text == clean(text_of(1 << 20))
    assert sum(seen) == normalized > 0
    monkeypatch.undo()
    assert len(shingles(text)) <= len(text) <= 3 * MAX_CHARACTERS == 60_000
    assert len(SparseEncoder().encode_query(text).indices) <= 2 * len(text)


def test_a_million_hashtags_are_landed_in_proportion() -> None:
    sizes = {number: landed(hashtags_of(number)) for number in (1_000, 250_000, 1_000_000)}
    assert sizes[1_000_000] <= 4.5 * sizes[250_000]
    assert sizes[1_000_000] < 20 << 20
    hashtags = "#tag " * 1_000_000
    assert len(clean(hashtags)) <= MAX_CHARACTERS
    assert len(shingles(clean(hashtags))) <= MAX_CHARACTERS
