"""Words of the query are marked, and the text stays the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.search.marking import marked
from resources.vectors.bm25 import SparseEncoder

ENCODER = SparseEncoder()


def terms_of(text: str) -> frozenset[int]:
    return frozenset(ENCODER.count_terms(text).indices.tolist())


def marks(text: str, query: str) -> list[str]:
    wanted = frozenset(ENCODER.encode_query(query).indices.tolist())
    return [part for part, is_match in marked(text, wanted, terms_of) if is_match]


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Vegan recipes, and a recipe", "vegan recipe", ["Vegan", "recipes", "recipe"]),
        ("<b>vegan</b>", "vegan", ["vegan"]),
        ("Crème brûlée", "creme", ["Crème"]),
        ("東京の電車が好き", "電車", ["電車"]),
        ("nothing here", "vegan", []),
        ("안녕하세요 세계", "세계", ["세계"]),
        ("", "vegan", []),
    ],
)
def test_words_are_marked_as_the_index_sees_them(text: str, query: str, expected: list[str]) -> None:
    assert marks(text, query) == expected


@given(st.text(alphabet="ab <>&電車東京세\n", max_size=30), st.sampled_from(["a b", "電車", "東京電車", "세"]))
def test_the_parts_are_the_text(text: str, query: str) -> None:
    wanted = frozenset(ENCODER.encode_query(query).indices.tolist())
    parts = marked(text, wanted, terms_of)
    assert "".join(part for part, _ in parts) == text
    assert all(part for part, _ in parts)
