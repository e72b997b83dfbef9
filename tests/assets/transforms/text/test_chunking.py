"""Where long texts are cut, proved with the model's own tokenizer."""

import sys
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.transforms.text.chunking import (
    LONGEST_WORD_TOKENS,
    ChunkedText,
    chunk_text,
    is_space,
    stands_alone,
)
from resources.llm.embedder import EmbedderResource
from resources.models.embedder import MiniLmModel

MAX_TOKENS = 200
UNBOUNDED = 10_000
# What is hard about text: no spaces, marks, joiners, characters that the tokenizer drops or takes for one unknown word.
HARD = [
    "a", "supercalifragilistic", "antidisestablishmentarianism" * 3, "x" * 99, "x" * 101, "word", "naïve", "cafe\u0301",
    " ", "\n", "\n\n", "\t", "\u3000", "\u2028", "\u0085", "\x1c", "\x00", "\u200b", "\u200d", "\ufe0f", "\ufffd",
    ".", "!", "? ", "。", "…", "؟", "#", "#️⃣", "@name", "https://a.example/b?c=d", "[SEP]", "[", "]", "'", "“", "”", "-",
    "漢", "字漢字", "漢\u3099", "ः", "각", "가", "ไม้", "สวัสดีครับ" * 9, "नमस्ते", "مرحبا", "שלום", "Ж", "ǅ", "ﬁ", "ß", "İ",
    "😀", "👩‍👩‍👧", "👍🏽", "🏽", "🇬🇷", "⎴", "\xad", "\u2e43", "\U0001fae0",
]  # fmt: skip
pieces = st.one_of(st.sampled_from(HARD), st.text(max_size=5), st.integers(0, 999).map(str))
repeats = st.tuples(st.lists(pieces, min_size=1, max_size=5), st.integers(1, 400)).map(
    lambda made: "".join(made[0]) * made[1]
)
texts = st.one_of(st.lists(st.one_of(pieces, repeats), max_size=30).map("".join), st.text(max_size=300), repeats)


@pytest.fixture(scope="module")
def model() -> MiniLmModel:
    model = EmbedderResource(encoder="english", threads=1).model()
    assert isinstance(model, MiniLmModel)
    return model


def chunked(model: MiniLmModel, text: str, max_tokens: int = MAX_TOKENS, max_chunks: int = UNBOUNDED) -> ChunkedText:
    [offsets] = model.tokenizer.token_offsets([text])
    return chunk_text(text, offsets, max_tokens, max_chunks)


def visible(text: str) -> str:
    return "".join(character for character in text if not character.isspace())


@settings(max_examples=50, deadline=None)
@given(text=texts)
@example(text="titledulereeinsdian§" * 100)  # the rest of this word has more tokens alone than in the word
@example(text="\u200d".join("titledulereeinsdian§" * 100))
@example(text="각\u200d" * 500)
@example(text="!\u200d" * 500)
@example(text="ः!ः" * 500)
@example(text=("x" * 50 + "\u2e43") * 50)
@example(text="\U0001fae0漢\u200d" * 500)
def test_chunks_cover_the_text_and_fit(model: MiniLmModel, text: str) -> None:
    result = chunked(model, text)
    chunks = result.chunks
    assert [chunk.chunk_no for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.text and chunk.text == text[chunk.start : chunk.end].strip() for chunk in chunks)
    assert all(chunk.end - chunk.start == len(chunk.text) for chunk in chunks)
    assert all(left.end <= right.start for left, right in pairwise(chunks))
    assert visible("".join(chunk.text for chunk in chunks)) == visible(text)
    assert result.dropped_tokens == 0
    assert sum(chunk.tokens for chunk in chunks) == (model.tokenizer.token_counts([text])[0] if chunks else 0)
    assert max(model.tokenizer.token_counts([chunk.text for chunk in chunks]), default=0) <= MAX_TOKENS


@settings(max_examples=50, deadline=None)
@given(text=texts)
def test_a_chunk_is_not_cut_again(model: MiniLmModel, text: str) -> None:
    for chunk in chunked(model, text).chunks:
        [again] = chunked(model, chunk.text).chunks
        assert again.text == chunk.text
    assert chunked(model, text) == chunked(model, text)


@settings(max_examples=50, deadline=None)
@given(text=texts, max_chunks=st.integers(1, 4))
def test_what_is_beyond_the_last_chunk_is_counted(model: MiniLmModel, text: str, max_chunks: int) -> None:
    everything, some = chunked(model, text), chunked(model, text, max_chunks=max_chunks)
    assert some.chunks == everything.chunks[:max_chunks]
    assert some.dropped_tokens == sum(chunk.tokens for chunk in everything.chunks[max_chunks:])
    assert (some.dropped_tokens > 0) == (len(everything.chunks) > max_chunks)


@settings(max_examples=50, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["travel", "vlog", "supercalifragilistic", "😀", "नमस्ते", "cafe\u0301"]), max_size=900
    )
)
def test_words_between_spaces_stay_whole(model: MiniLmModel, words: list[str]) -> None:
    found = [word for chunk in chunked(model, " ".join(words)).chunks for word in chunk.text.split()]
    assert found == words


def test_the_tokenizer_parts_what_is_taken_for_a_word_of_its_own(model: MiniLmModel) -> None:
    """Cuts beside these characters change no token: proved for every character of Unicode."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    alone = [character for character in characters if stands_alone(character)]
    assert len(alone) > 70_000
    assert {".", "_", "“", "。", "！", "؟", "\u4e00", "\u9fff", "\U0002fa1f"} <= set(alone)
    assert not {"a", "é", "1", " ", "♥", "각"} & set(alone)
    # Parted, "a" is a token before and after; joined, some longer word would begin or end elsewhere.
    for character, offsets in zip(alone, model.tokenizer.token_offsets([f"a{c}a" for c in alone]), strict=True):
        assert offsets[0] == (0, 1), f"U+{ord(character):04X}"
        assert offsets[-1] == (2, 3), f"U+{ord(character):04X}"
        assert len(offsets) >= 3, f"U+{ord(character):04X}"


def test_spaces_are_what_the_tokenizer_takes_for_spaces(model: MiniLmModel) -> None:
    """Python and the tokenizer differ on U+001C to U+001F and U+0085, which the tokenizer removes."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    doubtful = [c for c in characters if c.isspace() or unicodedata.category(c) in ("Zs", "Zl", "Zp", "Cc", "Cf")]
    for character, offsets in zip(doubtful, model.tokenizer.token_offsets([f"a{c}a" for c in doubtful]), strict=True):
        assert is_space(character) == (offsets == [(0, 1), (2, 3)]), f"U+{ord(character):04X}"
    assert not any(is_space(character) for character in "aX1.漢")


def test_a_word_has_no_more_tokens_than_is_assumed(model: MiniLmModel) -> None:
    longest = max(
        model.tokenizer.token_counts(["x" * size for size in range(300)] + ["각" * size for size in range(300)])
    )
    assert 1 < longest <= LONGEST_WORD_TOKENS


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("one two three " * 40 + "end. " + "four five six " * 60, "one two three " * 40 + "end."),
        ("one two three " * 40 + "“end!” " + "four five six " * 60, "one two three " * 40 + "“end!”"),
        ("one two three " * 40 + "end. " + "four (five) six " * 60, "one two three " * 40 + "end."),
        ("漢字" * 60 + "。" + "漢字" * 70, "漢字" * 60 + "。"),
    ],
    ids=["sentence", "quoted sentence", "no sentence ends in brackets", "ideographs"],
)
def test_cuts_fall_where_the_text_pauses(model: MiniLmModel, text: str, first: str) -> None:
    assert chunked(model, text).chunks[0].text == first


def test_the_end_of_a_line_is_a_space_like_any_other(model: MiniLmModel) -> None:
    """Clean texts have single spaces alone, so that lines and paragraphs cannot be told apart."""
    lines = "one two. " * 40 + "\n\n" + "three four.\n" * 60
    in_one = " ".join(lines.split())
    assert [chunk.text.split() for chunk in chunked(model, lines).chunks] == [
        chunk.text.split() for chunk in chunked(model, in_one).chunks
    ]


def test_pieces_are_of_similar_length(model: MiniLmModel) -> None:
    """Not 200 tokens and a rest of 10, whose vector would stand for hardly anything."""
    assert [chunk.tokens for chunk in chunked(model, "word " * 210).chunks] == [105, 105]
    assert [chunk.tokens for chunk in chunked(model, "word " * 200).chunks] == [200]
    assert [chunk.tokens for chunk in chunked(model, "word " * 400).chunks] == [200, 200]
    assert [chunk.tokens for chunk in chunked(model, "word " * 500).chunks] == [167, 166, 167]


@pytest.mark.parametrize("count", range(201, 207))
def test_graphemes_stay_whole(model: MiniLmModel, count: int) -> None:
    """A key cap (punctuation and two marks), and syllables that the tokenizer takes apart into three tokens each."""
    for grapheme in ("#️⃣漢", "!🏽", "각" * 30 + "§", "cafe\u0301 "):
        chunks = chunked(model, grapheme * count).chunks
        assert len(chunks) > 1
        assert not any(chunk.text.startswith(("\ufe0f", "\u20e3", "\u0301", "🏽")) for chunk in chunks)
        assert [chunk.tokens for chunk in chunks] == model.tokenizer.token_counts([chunk.text for chunk in chunks])


def test_a_cut_is_at_the_whitespace_itself(model: MiniLmModel) -> None:
    """What the tokenizer drops stays on its own side of the whitespace."""
    first, second = chunked(model, "word\u200b \u200b" * 210).chunks
    assert (first.text[-2:], second.text[:2]) == ("d\u200b", "\u200bw")


def test_blank_texts_have_no_chunk_and_others_have_one(model: MiniLmModel) -> None:
    assert chunked(model, "") == chunked(model, " \n\t ") == ChunkedText((), 0)
    assert [chunk.text for chunk in chunked(model, " \ufffd ").chunks] == ["\ufffd"]


def test_the_models_own_limit_loses_nothing_to_its_truncation(model: MiniLmModel) -> None:
    chunks = chunked(model, "supercalifragilistic journey " * 300, max_tokens=model.max_content_tokens).chunks
    assert max(model.tokenizer.token_counts([chunk.text for chunk in chunks])) <= model.tokenizer.max_tokens - 2


def test_too_small_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens is 199; it must be at least 200"):
        chunk_text("a", [(0, 1)], 199)
