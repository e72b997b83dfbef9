"""Near-duplicates, against the definition computed pair by pair."""

import random
import unicodedata
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.transforms.text import near_duplicates as compared
from assets.transforms.text.near_duplicates import SIMILARITY, Parts, near_duplicates, shingles

WORDS = [f"word{number}" for number in range(400)]
shingles_of = cache(shingles)
SENTENCE = "every morning I walk the dog along the river and think about what to cook for dinner"


def jaccard(one: str, other: str) -> float:
    left, right = shingles_of(one), shingles_of(other)
    return len(left & right) / len(left | right)


@pytest.mark.parametrize(
    "text",
    [
        SENTENCE.upper(),
        f"{SENTENCE}!!! 😀",
        SENTENCE.replace(" ", "  "),
        SENTENCE.replace("dinner", "supper"),
        "\u2066" + SENTENCE.replace("m", "\uff4d"),
    ],
)
def test_small_changes_make_a_near_duplicate(text: str) -> None:
    assert near_duplicates([SENTENCE, text]) == [None, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Episode 41 is out now", "Episode 42 is out now"),
        ("🎉🎉", "🔥🔥"),
        ("", "🔥"),
        (SENTENCE, "dinner for cook to what about think and river the along dog the walk I morning every"),
        ("今日は天気がいい", "今日は気分がいい日"),
        ("मेला", "माला"),
        ("বই", "বউ"),
        ("ที่นี่", "ที่นั่น"),
        ("กากี", "กีกา"),
        ("ははは", "はは"),
    ],
)
def test_different_texts_are_both_kept(one: str, other: str) -> None:
    assert near_duplicates([one, other]) == [None, None]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    text = "今日は天気がいいので公園まで散歩してから昼ご飯を食べました"
    assert near_duplicates([text, text.replace("公", "庭")]) == [None, 0]
    thai = "วันนี้อากาศดีมากเลยไปเดินเล่นที่สวนสาธารณะกับเพื่อน"
    assert near_duplicates([thai, thai + "ๆ"]) == [None, 0]


def test_a_chain_of_changes_is_compared_with_what_is_kept() -> None:
    words, chain = WORDS[:30], []
    for number in range(8):
        words = [*words]
        words[number * 3] = f"changed{number}"
        chain.append(" ".join(words))
    found = near_duplicates(chain)
    assert found[0] is None
    assert any(of is None for of in found[1:]), "the last ones differ from the first too much"
    for number, of in enumerate(found):
        if of is not None:
            assert found[of] is None
            assert jaccard(chain[number], chain[of]) >= SIMILARITY


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([0.6, 0.8, 0.95]))
def test_exactly_the_texts_at_the_similarity_are_dropped(random: random.Random, similarity: float) -> None:
    texts = [" ".join(random.choices(WORDS[:12], k=random.randint(1, 12))) for _ in range(40)]
    found, kept = near_duplicates(texts, similarity), list[int]()
    for number, of in enumerate(found):
        assert of == next((other for other in kept if jaccard(texts[number], texts[other]) >= similarity), None)
        if of is None:
            kept.append(number)
    assert near_duplicates(texts, similarity) == found


def test_all_pairs_are_found() -> None:
    rng = random.Random(7)  # noqa: S311
    originals = [" ".join(rng.sample(WORDS, 40)) for _ in range(300)]
    changed = []
    for text in originals:
        words = text.split()
        for place in rng.sample(range(40), 2):
            words[place] = "changed"
        changed.append(" ".join(words))
    assert all(jaccard(*pair) >= SIMILARITY for pair in zip(originals, changed, strict=True))
    found = near_duplicates([*originals, *changed])
    assert found[:300] == [None] * 300
    assert found[300:] == [*range(300)]


def test_a_similarity_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="similarity is 0; it must be more than 0 and at most 1"):
        near_duplicates(["a"], 0)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(3, 9))
def test_posts_that_fill_in_a_template_are_compared_one_by_one(random: random.Random, changed: int) -> None:
    """Many texts share most of their shingles and few are near-duplicates; the result is the definition, exactly."""
    head, tail = SENTENCE, "only today and only here, for all who follow us and who come to the shop before noon"
    texts = [" ".join((head, *random.sample(WORDS, changed), tail)) for _ in range(100)]
    found, kept = near_duplicates(texts), list[int]()
    for number, of in enumerate(found):
        alike = [other for other in kept if jaccard(texts[number], texts[other]) >= SIMILARITY]
        assert of == min(alike, default=None)
        if of is None:
            kept.append(number)


def test_the_comparisons_of_a_text_are_bounded_in_a_vocabulary_of_ten_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "MOST_KEPT_WITH", 5)
    alike, calls = compared._alike, 0

    def counted(one: frozenset[str], other: frozenset[str], similarity: float) -> bool:
        nonlocal calls
        calls += 1
        return alike(one, other, similarity)

    monkeypatch.setattr(compared, "_alike", counted)
    generator = random.Random(1)  # noqa: S311 -- not for cryptography
    texts = [" ".join(generator.choices(WORDS[:10], k=10)) for _ in range(1_000)]
    near_duplicates(texts)
    rarest = max(len(shingles(text)) - int(SIMILARITY * len(shingles(text))) + 1 for text in texts)
    assert calls <= 1_000 * rarest * 5
    few = calls
    near_duplicates(texts * 2)
    assert calls - few <= 2 * 1_000 * rarest * 5
    monkeypatch.setattr(compared, "MOST_KEPT_WITH", 1_000)
    calls = 0
    near_duplicates(texts)
    assert calls > 2 * few


def test_titles_and_what_texts_say_of_their_own_must_be_alike() -> None:
    def texts(*parts: tuple[str, str]) -> list[int | None]:
        return near_duplicates([Parts(title, own, f"{own} {SENTENCE}") for title, own in parts])

    assert texts(("How to bake a bread", ""), ("HOW to bake bread!", "")) == [None, 0]
    assert texts(("🍞", ""), ("🪁", "")) == [None, 0]
    assert texts(("Bake bread", ""), ("Fly a kite", "")) == [None, None]
    assert texts(("Today", "episode 5"), ("Today", "episode 6")) == [None, None]
    changed = SENTENCE.replace("dinner", "supper")
    assert near_duplicates([Parts("", "", f"{SENTENCE} bye"), Parts("", changed, f"{changed} bye")]) == [None, 0]
    assert near_duplicates([]) == []


MANY = (range(0x3400, 0xA000), range(0xAC00, 0xD800), range(0x17000, 0x18D00))
BLOCKS = [range(first, first + 0x80) for first in range(0, 0x1F000, 0x80) if not any(first in many for many in MANY)]
BLOCKS = [block for block in BLOCKS if sum(unicodedata.category(chr(code))[0] == "L" for code in block) > 1]
BLOCKS += [range(0x4E00, 0x4F00), range(0xAC00, 0xAD00), range(0x20000, 0x20080)]


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(BLOCKS))
def test_no_two_different_texts_of_letters_are_equal_after_normalization(data: st.DataObject, block: range) -> None:
    categories = ("Ll", "Lu", "Lt", "Lo", "Lm", "Mn", "Mc")
    letters = [chr(code) for code in block if unicodedata.category(chr(code)) in categories]
    texts = st.text(st.sampled_from(letters), min_size=1, max_size=4)
    one, other = data.draw(texts), data.draw(texts)
    folded = [unicodedata.normalize("NFKC", text).casefold() for text in (one, other)]
    expected = [None, 0] if folded[0] == folded[1] else [None, None]
    assert near_duplicates([one, other]) == expected
