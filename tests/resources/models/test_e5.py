"""The multilingual encoder against its own weights in numpy, and its tokenizer."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from assets.transforms.text.chunking import chunk_text
from resources.models.e5 import PackedE5, dequantized
from resources.models.embedder import MEANS, E5Model
from resources.models.model_files import E5, ModelFilesError
from resources.models.unigram import UnigramTokenizer
from tests.resources.models.e5_means import computed

Floats = NDArray[np.float64]
EVERY = slice(None)
TEXTS = [
    "Borscht recipe",
    "Как сварить борщ",
    "カレーの作り方 🍛",
    "สวัสดีครับ วันนี้อากาศดี",
    "Cómo hacer pan en casa, sin horno y sin prisa. " * 12,
]
HARD = [
    "", " ", "a", "ñandú", "</s>", "<unk>", "<mask>", "\0</s> </s>", "▁", "漢字", "각", "👩\u200d🍳", "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "ﬁ ½", "e\u0301", "\u200b", "\U0003ffff", "\t\n", "https://a.example/b?c=d", "x" * 300,
    "สวัสดี" * 40, "日本語の長い文章" * 20,
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> E5Model:
    return E5Model(threads=1)


@cache
def packed() -> PackedE5:
    return PackedE5(E5.verified("e5-small-q4.bin"))


def floats(name: str) -> Floats:
    return packed().tensor(name).view("<f4").astype(np.float64)


def matrix(name: str, inputs: int, rows: slice | NDArray[np.int32] = EVERY) -> Floats:
    """Weights by the definition of the format: (number - 8) · scale, half bytes i and i + 16."""
    blocks = packed().tensor(name).reshape(-1, inputs // 32 * 18)[rows].reshape(-1, 18)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float64)
    numbers = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    weights: Floats = (numbers.astype(np.float64) - 8) * scales
    return weights.reshape(-1, inputs)


def normalized(hidden: Floats, name: str) -> Floats:
    centred = hidden - hidden.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    scaled: Floats = centred / spread * floats(f"{name}.w")
    return scaled + floats(f"{name}.b")


def encoded(ids: NDArray[np.int32]) -> Floats:
    """BERT in numpy, in double precision, of one text: the unit vector of the mean of its tokens."""
    hidden = normalized(
        matrix("emb.word", 384, ids) + floats("emb.pos").reshape(-1, 384)[: len(ids)] + floats("emb.type")[:384],
        "emb.ln",
    )
    for layer in range(12):

        def dense(values: Floats, name: str, layer: int = layer) -> Floats:
            return values @ matrix(f"l{layer}.{name}.w", values.shape[1]).T + floats(f"l{layer}.{name}.b")

        query, key, value = (dense(hidden, name).reshape(-1, 12, 32).swapaxes(0, 1) for name in "qkv")
        scores = query @ key.swapaxes(1, 2) / math.sqrt(32)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
        hidden = normalized(hidden + dense(mixed.swapaxes(0, 1).reshape(-1, 384), "ao"), f"l{layer}.aln")
        up = dense(hidden, "fi")
        active = up * 0.5 * (1 + np.vectorize(math.erf)(up / math.sqrt(2)))
        hidden = normalized(hidden + dense(active, "fo"), f"l{layer}.oln")
    mean = hidden.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_vectors_are_those_of_the_dequantized_weights(model: E5Model) -> None:
    opening = [packed().vocabulary.pieces.index(piece) for piece in ("▁passage", ":")]
    some, mean = TEXTS[1:4], np.array(json.loads(MEANS.read_text())["passage:"])
    for text, whole, vector in zip(some, model.whole_vectors(some, "passage:"), model.embed_all(some), strict=True):
        [ids] = model.tokenizer.token_ids([text], opening)
        expected = encoded(ids)
        np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-5)
        centred = expected - mean
        np.testing.assert_allclose(vector, centred / np.linalg.norm(centred), rtol=0, atol=1e-5)


def test_the_means_are_those_of_everyday_posts(model: E5Model) -> None:
    stored = json.loads(MEANS.read_text())
    for prefix, mean in computed(model).items():
        np.testing.assert_allclose(stored[prefix], mean, rtol=0, atol=2e-5)


def test_matrices_are_in_the_order_of_the_format() -> None:
    blocks = packed().tensor("l3.fo.w").view([("scale", "<f2"), ("pairs", "<u2", 8)])
    np.testing.assert_array_equal(dequantized(blocks).reshape(-1, 1536), matrix("l3.fo.w", 1536).astype(np.float32))


def test_a_vector_does_not_depend_on_its_batch(model: E5Model) -> None:
    together = model.embed_all(TEXTS)
    alone = np.concatenate([model.embed_all([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_a_query_finds_its_subject_in_other_languages(model: E5Model) -> None:
    subjects = ["Как сварить борщ", "車のエンジンを修理する", "Ejercicios de yoga para la espalda", "ราคาทองคำวันนี้"]
    queries = ["borscht recipe", "repair a car engine", "yoga for back pain", "price of gold today"]
    cosines = model.embed_queries(queries) @ model.embed_all(subjects).T
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_queries_and_posts_have_the_prefixes_of_e5(model: E5Model) -> None:
    [query], [post] = model.embed_queries(["bread"]), model.embed_all(["bread"])
    for vector, prefix in ((query, "query: "), (post, "passage: ")):
        [ids] = model.tokenizer.token_ids([f"{prefix}bread"])
        [[whole]] = model.session.run(["vectors"], {"token_ids": ids[None], "lengths": np.array([len(ids)], np.int32)})
        centred = whole - json.loads(MEANS.read_text())[prefix.strip()]
        np.testing.assert_allclose(vector, centred / np.linalg.norm(centred), rtol=0, atol=1e-6)


def test_only_a_text_without_letters_is_not_read(model: E5Model) -> None:
    assert model.can_read([*TEXTS, "አማርኛ", "...", "\U0003ffff" * 3]) == [*[True] * 6, False, False]


@pytest.fixture(scope="module")
def whole() -> UnigramTokenizer:
    """A tokenizer that has indexed the whole vocabulary."""
    made = UnigramTokenizer(packed().vocabulary, 512)
    assert made.token_counts(["many words " * 2_000]) == [4_000]
    return made


@pytest.fixture(scope="module")
def few() -> UnigramTokenizer:
    return UnigramTokenizer(packed().vocabulary, 512)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(HARD), st.text(max_size=30)), max_size=6))
def test_the_index_of_a_few_texts_gives_the_same_tokens(
    whole: UnigramTokenizer, few: UnigramTokenizer, texts: list[str]
) -> None:
    assert few.token_counts(texts) == whole.token_counts(texts)
    assert [ids.tolist() for ids in few.token_ids(texts)] == [ids.tolist() for ids in whole.token_ids(texts)]
    assert list(few.token_offsets(texts)) == list(whole.token_offsets(texts))


def test_a_text_cannot_have_the_tokens_that_open_and_close_it(whole: UnigramTokenizer) -> None:
    for ids in whole.token_ids(HARD):
        assert [number for number, id_ in enumerate(ids) if id_ in (0, 1, 2, 250_001)] == [0, len(ids) - 1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(HARD), min_size=1, max_size=5), st.integers(1, 200), st.sampled_from(["", " "]))
def test_no_chunk_is_cut_off(whole: UnigramTokenizer, words: list[str], times: int, between: str) -> None:
    text = between.join(words * times)
    [offsets] = whole.token_offsets([text])
    chunks = chunk_text(text, offsets, whole.chunk_tokens, 10_000).chunks
    counts = whole.token_counts([chunk.text for chunk in chunks])
    assert max(counts, default=0) <= whole.max_tokens - 2 - 2
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"e5-small-q4\.bin is missing"):
        E5Model(threads=1, folder=tmp_path).embed_all(["a"])
    (tmp_path / "e5-small-q4.bin").write_bytes(b"E5S1 other weights")
    with pytest.raises(ModelFilesError, match="is not the expected file"):
        E5Model(threads=1, folder=tmp_path).embed_all(["a"])


def test_the_name_of_the_tokenizer_is_known_without_its_file() -> None:
    assert E5Model.tokenizer_name == E5Model.open_tokenizer().name
