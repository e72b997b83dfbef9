"""What cleaning changes in a text, and what it leaves as its author wrote it."""

import unicodedata
from itertools import groupby
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.transforms.claims import contradiction
from assets.transforms.search.query_language import parse
from assets.transforms.text import cleaning
from assets.transforms.text.cleaning import clean, clean_lines, with_hashtags
from assets.transforms.text.corpus import has_words
from assets.transforms.text.marks import MAX_MARKS, limit_marks, long_runs_of_marks
from assets.transforms.text.near_duplicates import shingles
from resources.models.analyzer import document_terms, query_terms
from resources.models.folding import fold
from resources.vectors.bm25 import SparseEncoder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ""),
        ("  \n\t ", ""),
        ("Fish &amp; chips", "Fish & chips"),
        ("look https://t.co/x1?y=2 now", "look now"),
        ("WWW.Example.com/path end", "end"),
        ("【新着】https://youtu.be/abc今日はラーメン", "【新着】 今日はラーメン"),
        ("www.example.com/a?b=%E4#c、見てね", "、見てね"),
        ("ดูhttps://t.co/x1ได้เลย", "ดู ได้เลย"),
        ("e\u0301clair", "éclair"),
        ("a\u200bb\ufeffc\u00add", "abcd"),
        ("null\x00byte", "nullbyte"),
        ("line\r\nbreak\u2028and\u00a0more", "line break and more"),
        ("👩\u200d🍳 cooks 👋🏽", "👩\u200d🍳 cooks 👋🏽"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("שלום עולם", "שלום עולם"),
        ("\u202eabc\u202c \u2066d\u2069\u200f", "abc d"),
        ("𝗡𝗲𝘄 𝓿𝓲𝓭𝓮𝓸 𝟚𝟘𝟚𝟞", "New video 2026"),
        ("half\ud83d", "half"),
        ("\u2800", ""),
        ("one\u2800\u2800two\u3164\u115f\u1160\uffa0", "one two"),
        ("rock&notroll AT&TIMES ?a=1&copy=2", "rock&notroll AT&TIMES ?a=1&copy=2"),
        ("&not; &#39;a&#x27; &nbsp;&lt;b", "¬ 'a' <b"),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f ⚽\ufe0f",
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f ⚽\ufe0f",
        ),
        ("e\u200b\u0301", "é"),
    ],
)
def test_clean(text: str | None, expected: str) -> None:
    assert clean(text) == expected


@given(st.text())
def test_clean_is_idempotent_on_entity_free_text(text: str) -> None:
    once = clean(text.replace("&", ""))
    assert clean(once) == once


MARKS = "\u0301\u0323\u0344\u0f73\uff9e\u0300"


@pytest.mark.parametrize(
    "text",
    [
        "a" + MARKS * 20_000,
        MARKS * 100_000,
        "\u200b".join("𝗡" + "\u0323\u0301" * 30_000),
        "&#769;&#803;" * 50_000,
        "क" + "\u094d\u093c" * 50_000,
        "ｶ" + "\uff9e" * 100_000,
        ("e" + "\u0301" * 40) * 1_000,
    ],
    ids=["letter", "marks alone", "hidden between", "entities", "viramas", "half width", "many letters"],
)
def test_no_text_that_is_normalized_has_a_long_run_of_marks(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    longest, normalize = [], unicodedata.normalize

    def measured(form: Literal["NFC", "NFD", "NFKC", "NFKD"], given: str) -> str:
        decomposed = normalize("NFKD", given[: cleaning.MAX_CHARACTERS])
        runs = groupby(decomposed, lambda character: unicodedata.combining(character) > 0)
        longest.append(max([0, *(len(list(run)) for is_mark, run in runs if is_mark)]))
        return normalize(form, given)

    long_runs_of_marks()  # normalizes every mark by itself
    document_terms("é")
    monkeypatch.setattr(unicodedata, "normalize", measured)
    once = clean(text)
    shingles(once)
    SparseEncoder().encode_query(once)
    for raw in (text[:40_000], text[:40_000].replace(" ", "")):
        document_terms(raw)
        parse(f'"{raw}"')
        contradiction(raw, [raw], raw)
    assert max(longest) <= 2 * MAX_MARKS + 2  # a mark decomposes into two, a letter brings two
    assert clean(once) == once


def test_languages_keep_their_marks() -> None:
    for text in ("Tiê\u0301ng Việt", "שָׁלוֹם", "मैं हिंदी", "مُحَمَّدٌ", "ที่นี่", "z\u0351\u036b\u0343\u036a\u0302a" * 9):
        assert clean(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "&lt;" * 10**6, "#tag " * 10**6, "\ufb2c" * 10**6, "https://x.y/" * 10**6, "é " * 50_000_000]
)
def test_of_a_huge_text_the_beginning_is_read(text: str) -> None:
    found = clean(text)
    assert len(found) <= 3 * cleaning.MAX_CHARACTERS  # NFC writes some letters as three
    assert found == clean(text[: cleaning.MAX_CHARACTERS])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://münchen.example/größe", ""),
        ("siehe https://www.example.com/größe?straße=1 jetzt", "siehe jetzt"),
        ("тут https://пример.example/страница тоже", "тут тоже"),
        ("https://例え.example/a を見て", "を見て"),
        ("https://x.example/a$3,000 or less", "$3,000 or less"),
        ("https://x.example/a,then go", ",then go"),
        ("https://x.example/a.Then go", ".Then go"),
        ("https://x.example/a; also", "also"),
        ("https://x.example/a)then", ")then"),
        ("https://x.example/aОфициальный канал", "Официальный канал"),
        ("https://x.example/a에서 봤어요", "에서 봤어요"),
        ("https://www.Example.com/a,b.html?c=1,2 end", "end"),
        ("https://x.example/Chouf.Maroc\nnext", "next"),
        ("https://x.example/a,größer als", ",größer als"),
        ("https://x.example/a,потом да", ",потом да"),
        ("https://x.example/a,don’t go", ",don’t go"),
        ("https://x.example/a,well-known now", ",well-known now"),
        ("https://x.example/a!Wow nice", "!Wow nice"),
        ("https://x.example/a:then go", ":then go"),
        ("https://x.example/a(then go)", "(then go)"),
        ("https://x.example/a?Then go", "Then go"),
        ("https://x.example/a.Größe ist alles", ".Größe ist alles"),
        ("https://x.example/Maître_(film):8080 end", "end"),
        ("https://x.example/3gZJaNySubscribe NOW", "Subscribe NOW"),
        ("https://shop.exampleWatch the best", "Watch the best"),
        ("http://x.example.comKid's books", "Kid's books"),
        ("https://x.example/Federación Nacional", "Federación Nacional"),
        ("https://x.example/EvanEtMarco - more", "- more"),
        ("https://x.example/q8oOgq 喜歡", "喜歡"),
        ("https://x.example/Uy 4Ab5x", "4Ab5x"),
        ("https://x.example/abc\u200bI built it", "I built it"),
    ],
)
def test_the_whole_url_goes_and_words_behind_it_stay(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<a href="https://x.example/q?a=1">Buy now</a>', "Buy now"),
        ("<p>One</p><p class='x'>two</p><br/>three", "One two three"),
        ("&lt;b&gt;Bold&lt;/b&gt; <IMG SRC=x>", "Bold"),
        ("I <3 this: a < b > c, <your name>", "I <3 this: a < b > c, <your name>"),
        ("Fish &amp;amp; chips", "Fish & chips"),
        ("&amp;amp;lt;3 &amp;quot;hi&amp;quot; &amp;#39;", '<3 "hi" \''),
        ("rock &amp;notroll", "rock &notroll"),
    ],
)
def test_markup_goes_and_the_text_in_it_stays(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CafÃ© crÃ¨me 🌱", "Café crème 🌱"),
        ("itâ€™s â€œfineâ€\x9d", "it’s “fine”"),
        ("РџСЂРёРІРµС‚ РјРёСЂ", "Привет мир"),
        ("ðŸ˜€ happy", "😀 happy"),
        ("Ã\xadndice", "índice"),
        ("São João, À bientôt — “naïve” Ângela", "São João, À bientôt — “naïve” Ângela"),
        ("ÑANDÚ Ö Ð", "ÑANDÚ Ö Ð"),
    ],
)
def test_wrong_character_sets_are_repaired_and_right_ones_left(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vegan\u200brecipes\u200btoday", "vegan recipes today"),
        ("sale!\u200bNow on", "sale! Now on"),
        ("v\u200be\u200bg\u200ba\u200bn", "vegan"),
        ("Vide\u200bo)", "Video)"),
        ("the end\u200bI say", "the end I say"),
        ("so\u200bA dog", "so A dog"),
        ("VEGA\u200bN", "VEGAN"),
        ("hi\U000e0068\U000e0069 there", "hi there"),
        ("👍\U000e0041\U000e0042", "👍"),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f\U000e0041",
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        ),
        ("in\u2062visi\ufff9ble\U000e0101", "invisible"),
    ],
)
def test_zero_width_spaces_part_words_and_invisible_characters_go(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ＶＥＧＡＮ １２", "VEGAN 12"),
        ("ᴠᴇɢᴀɴ ʀᴇssᴏᴜʀᴄᴇs", "vegan ressources"),
        ("ᴠɪᴅᴇ\u0301ᴏs ᴇ\u0301ᴛᴇ́", "vidéos été"),
        ("🅥🅔🅖🅐🅝 Ⓥⓔⓖⓐⓝ 🄽🄴🅆", "VEGAN Vegan NEW"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("ﾞ (゜ﾟ)", "ﾞ (゜ﾟ)"),
        ("Ⓒ 🅰️ [ɪ] すごい！", "Ⓒ 🅰️ [ɪ] すごい！"),
    ],
)
def test_decorated_letters_become_plain(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_lines_are_cleaned_and_kept_apart() -> None:
    assert clean_lines("Title &amp; more\r\n\n  https://x.example/a\u2028last  line") == ["Title & more", "last line"]
    assert clean_lines(None) == []


def test_the_hashtags_that_a_text_lacks_are_added_to_it() -> None:
    tags = ["Vegan", "#food", None, "", "!", "vegan", "slow living", "मेला"]
    assert with_hashtags("Love #vegan Food", tags) == "Love #vegan Food #slow_living #मेला"
    assert with_hashtags("", ["xy", "x", "猫"]) == "#xy #猫"
    assert with_hashtags("veganism", ["vegan"]) == "veganism #vegan"
    assert with_hashtags("text", None) == "text"
    assert len(with_hashtags("a" * cleaning.MAX_CHARACTERS, ["bc"])) == cleaning.MAX_CHARACTERS
    assert len(with_hashtags("", [f"tag{number}" for number in range(10**6)])) < 1_000


BLOCKS = [(first, first + 0x7F) for first in range(0x80, 0x3400, 0x80)] + [
    (0x4E00, 0x4E7F),
    (0xAC00, 0xAC7F),
    (0xFE80, 0xFEFF),
]


@pytest.mark.parametrize("block", BLOCKS[::6], ids=lambda block: f"U+{block[0]:04X}")
def test_no_text_of_letters_becomes_empty(block: tuple[int, int]) -> None:
    fillers = "\u115f\u1160\u3164\uffa0"  # letters without a shape
    letters = [chr(code) for code in range(block[0], block[1] + 1) if chr(code).isalpha() and chr(code) not in fillers]
    encoder = SparseEncoder()
    for text in [*letters, "".join(letters)]:
        found = clean(text)
        if text:
            assert has_words(found)
            assert len(encoder.encode_query(found)) > 0
            assert len(encoder.count_terms(found)) > 0


def test_every_letter_of_every_script_is_kept_and_found() -> None:
    fillers = "\u115f\u1160\u3164\uffa0"  # letters without a shape
    many = (range(0x3400, 0xA000), range(0xAC00, 0xD7A4), range(0x17000, 0x18D00), range(0x20000, 0x33480))
    codes = (
        code for code in range(0x41, 0x33480) if code % 211 == 0 or not any(code in of_script for of_script in many)
    )
    letters = [chr(code) for code in codes if chr(code).isalpha() and chr(code) not in fillers]
    assert len(letters) > 20_000
    for letter in letters:
        found = clean(letter)
        assert has_words(found), letter
        assert query_terms(found), letter
        assert set(query_terms(found)) <= set(document_terms(found)), letter


@example("A'ぁ")
@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="utf-8", categories=["L", "M", "Lm", "Zs", "Pd", "Po"]), max_size=12))
def test_a_text_of_letters_marks_and_apostrophes_has_terms_if_it_has_words(text: str) -> None:
    found = clean(text)
    if has_words(found):
        assert document_terms(found)
        assert query_terms(found)


def test_runs_of_every_mark_are_limited() -> None:
    marks = [
        chr(code)
        for code in range(0x20000)
        if not 0xD800 <= code < 0xE000 and unicodedata.combining(unicodedata.normalize("NFKD", chr(code))[0])
    ]
    assert len(marks) > 800
    assert [mark for mark in marks if limit_marks(f"a{mark * 40}b") != f"a{mark * MAX_MARKS}b"] == []
    assert [mark for mark in marks if fold(f"a{mark * 40}b") != fold(f"a{mark * MAX_MARKS}b")] == []
