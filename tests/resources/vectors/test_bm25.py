"""Sparse encoding and corpus-wide weights: the scores must be BM25's, written out by hand here."""

import math
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.search.bm25 import idf, weigh_forms, weigh_query
from resources.vectors.bm25 import AVERAGE_TERMS, LENGTH_B, SATURATION_K, SparseEncoder
from resources.vectors.values import SparseVector

ENCODER = SparseEncoder()
DOCUMENTS = ["cheap ramen in tokyo", "ramen ramen ramen", "a long walk in the park with the dog", "", "🍕"]


def terms(text: str) -> set[int]:
    return set(ENCODER.encode_query(text).indices.tolist())


def document_terms(text: str) -> set[int]:
    return set(ENCODER.encode_documents([text])[0].indices.tolist())


def dot(left: SparseVector, right: SparseVector) -> float:
    _, ours, theirs = np.intersect1d(left.indices, right.indices, return_indices=True)
    return float(left.values[ours] @ right.values[theirs])


def bm25_by_hand(query: str, document: str, corpus: list[str]) -> float:
    counts, score = Counter(document.split()), 0.0
    for term in set(query.split()):
        holders = sum(term in other.split() for other in corpus)
        length = 1 - LENGTH_B + LENGTH_B * counts.total() / AVERAGE_TERMS
        tf = counts[term] * (SATURATION_K + 1) / (counts[term] + SATURATION_K * length)
        score += math.log(1 + (len(corpus) - holders + 0.5) / (holders + 0.5)) * tf
    return score


words = st.lists(st.sampled_from(["ant", "bee", "cat", "dog", "eel"]), max_size=12).map(" ".join)


@given(st.lists(words, min_size=1, max_size=6), words)
def test_query_times_document_is_bm25(corpus: list[str], query: str) -> None:
    vectors = ENCODER.encode_documents(corpus)
    frequencies = Counter(term for vector in vectors for term in vector.indices.tolist())
    encoded = ENCODER.encode_query(query)
    weighted = SparseVector(*weigh_query(encoded.indices, frequencies, len(corpus)))
    for text, vector in zip(corpus, vectors, strict=True):
        # Weights are rounded to steps, so that sums are exact: by up to .003 a term.
        assert dot(weighted, vector) == pytest.approx(bm25_by_hand(query, text, corpus), abs=0.015)


def test_term_ids_are_stable() -> None:
    # A stored vector is compared with queries of later versions: another hash would find nothing, in silence.
    assert ENCODER.encode_query("cat").indices.tolist() == [1751422759]


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("BEYONCE", "beyoncé live"),
        ("naïve", "naive"),  # decomposed and composed accents
        ("iphone 15", "ＩＰＨＯＮＥ １５ review"),
        ("κοσμε", "ΚΌΣΜΕ"),
        ("strasse in lodz", "Straße in Łódź"),
        ("fitness", "#Fitness!"),
        ("ラーメン", "東京で美味しいラーメンを食べました"),
        ("猫", "可愛い猫がいる"),
        ("ramen", "東京でramenを食べた"),
        ("中文", "我喜欢中文分词"),
        ("เพื่อน", "กินข้าวกับเพื่อน"),
        ("мир", "Привет, МИР!"),
    ],
)
def test_a_query_s_terms_are_the_document_s(query: str, document: str) -> None:
    assert terms(query)
    assert terms(query) <= document_terms(document)


@given(st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=20), st.text(max_size=20))
def test_whatever_a_query_spells_out_is_found(word: str, context: str) -> None:
    assert terms(word) <= document_terms(f"{context} {word} {context}")


@pytest.mark.parametrize("text", ["", "  ", "!!!", "🍕🍕", "\x00"])
def test_text_without_terms_is_empty(text: str) -> None:
    (document,) = ENCODER.encode_documents([text])
    assert (len(document), len(ENCODER.encode_query(text))) == (0, 0)


def test_a_lone_surrogate_is_no_error() -> None:
    assert terms("cat \ud83d") == terms("cat")


def test_repeated_query_terms_weigh_once() -> None:
    assert ENCODER.encode_query("dog dog cat").values.tolist() == [1.0, 1.0]


def test_unknown_terms_weigh_most_and_common_terms_least() -> None:
    assert idf(0, 10) > idf(1, 10) > idf(10, 10) > 0
    _, weights = weigh_query(np.array([7, 9], np.uint32), {9: 10}, 10)
    assert weights.tolist() == pytest.approx([idf(0, 10), idf(10, 10)], abs=0.001)


def test_more_holders_than_documents_is_an_error() -> None:
    with pytest.raises(ValueError, match="11 documents of 10"):
        idf(11, 10)


def test_words_are_stemmed_alike_in_queries_and_documents() -> None:
    assert terms("vegan recipe reviews") <= document_terms("She reviewed my favourite veganism and recipes, a vegan")
    assert terms("running") == terms("RUNS") == terms("run")


def test_stop_words_count_only_where_there_is_nothing_else() -> None:
    assert terms("what is the best ramen") == terms("best ramen")
    assert terms("the who") == document_terms("The Who")
    assert len(terms("the who")) == 2


def test_a_closed_collection_has_its_own_mean_length() -> None:
    text = "ramen in tokyo with friends"
    short, long = (SparseEncoder(average).encode_documents([text])[0].values for average in (5, 500))
    assert (short < long).all()
    assert short.tolist() == pytest.approx([1.0] * 5)


def test_term_counts() -> None:
    counts = ENCODER.count_terms("dog cat dog " + "bee " * 1000)
    assert sorted(counts.values.tolist()) == [1.0, 2.0, 1000.0]


@given(st.lists(words, min_size=2, max_size=6), st.lists(st.integers(0, 200), max_size=60, unique=True), st.randoms())
def test_scores_are_exact_in_any_order(corpus: list[str], extra: list[int], random: Random) -> None:
    """32-bit sums in two orders and in 64 bits are one number, so engines cannot differ."""
    text = " ".join([*corpus, *(f"term{number}" for number in extra)])
    (document,) = ENCODER.encode_documents([text])
    encoded = ENCODER.encode_query(text)
    weighted = SparseVector(*weigh_query(encoded.indices, {}, 10_000_000))
    _, ours, theirs = np.intersect1d(weighted.indices, document.indices, return_indices=True)
    products = [float(w * d) for w, d in zip(weighted.values[ours], document.values[theirs], strict=True)]
    shuffled = random.sample(products, len(products))
    sums = []
    for order in (products, shuffled):
        total = np.float32(0)
        for product in order:
            total = np.float32(total + np.float32(product))
        sums.append(float(total))
    assert sums == [math.fsum(products)] * 2


def test_weights_of_a_very_long_query_are_not_rounded_away() -> None:
    terms = np.arange(3_000, dtype=np.uint32)
    held = {int(term): int(term) * 30 for term in terms}
    _, weights = weigh_query(terms, held, 100_000)
    exact = np.array([idf(held[int(term)], 100_000) for term in terms])
    assert np.abs(weights - exact).max() <= 0.25


def test_a_form_weighs_no_more_than_the_words_it_stands_for() -> None:
    asked, forms = np.array([5, 7], np.uint32), {6: frozenset({5, 7}), 8: frozenset({5}), 9: frozenset({7})}
    held = {5: 100, 7: 20, 6: 2, 9: 50}
    found = dict(zip(*(values.tolist() for values in weigh_forms(asked, forms, held, 1_000)), strict=True))
    assert list(found) == [5, 6, 7, 9], "no document has 8"
    assert found[6] == found[7], "the rarer of its words"
    assert found[9] < found[7]
    assert found[5] == pytest.approx(idf(100, 1_000), abs=0.01)


def test_no_forms_change_nothing() -> None:
    asked = np.array([5, 7], np.uint32)
    for ours, plain in zip(weigh_forms(asked, {}, {5: 3}, 10), weigh_query(asked, {5: 3}, 10), strict=True):
        assert ours.tolist() == plain.tolist()
