"""The terms of texts and queries: spellings of one word meet, and different words do not."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.models.analyzer import document_terms, query_terms
from resources.models.folding import fold


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("wifi", "Wi-Fi at home"),
        ("wi-fi", "free wifi"),
        ("loreal", "new from L'Oréal"),
        ("l’oréal", "LOREAL lipstick"),
        ("spiderman", "Spider-Man returns"),
        ("usa", "in the U.S.A. today"),
        ("h&m", "an H&M haul"),
        ("food_blog", "our foodblog"),
        ("Nike's", "shoes by Nike"),
        ("ＶＥＧＡＮ", "vegan"),
        ("ᴠᴇɢᴀɴ", "vegan"),
        ("🅥🅔🅖🅐🅝", "vegan"),
        ("𝓿𝓮𝓰𝓪𝓷", "vegan"),
        ("vegan", "ⓥⓔⓖⓐⓝ"),
        ("recipes", "#VeganRecipes"),
        ("#veganrecipes", "#VeganRecipes"),
        ("iphone 15", "#iPhone15Pro"),
        ("tasty", "by @TastyTreats"),
        ("Strasse", "Straße"),
        ("istanbul", "İSTANBUL"),
        ("malmo", "Malmø and Łódź"),
        ("ёлка", "елка"),
        ("рецептов", "Рецепты"),
        ("красивая", "красивый"),
        ("йога", "ЙОГА"),
        ("احمد", "أَحْمَد"),
        ("السلام", "ســلام"),
        ("إسلام", "اسلام"),
        ("میخواهم", "می‌خواهم"),
        ("کتاب", "كتاب"),
        ("שלום", "שָׁלוֹם"),
        ("צה״ל", 'חיילי צה"ל'),
        ("서울", "서울에서"),
        ("책", "책을 읽다"),
        ("हिंदी", "हिन्दी"),
        ("लडका", "लड़के"),
        ("புத்தகம்", "புத்தகங்கள்"),
        ("เพื่อน", "กินข้าวกับเพื่อน"),
        ("ផ្សារ", "ខ្ញុំចង់ទៅផ្សារទំនើប"),
        ("ກິນເຂົ້າ", "ຂ້ອຍມັກກິນເຂົ້າ"),
        ("ｶﾞﾝﾀﾞﾑ", "ガンダム展"),
        ("2024", "٢٠٢٤"),
        ("२०२४", "2024"),
    ],
)
def test_a_query_meets_the_document(query: str, document: str) -> None:
    assert set(query_terms(query)) & set(document_terms(document))


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("मेला", "माला"),
        ("किताब", "क ताब"),
        ("2.5", "25"),
        ("wifi", "we fight"),
        ("កា", "កី"),
        ("서울", "서 울"),
        ("чай", "чаща"),
    ],
)
def test_different_words_do_not_meet(query: str, document: str) -> None:
    assert not set(query_terms(query)) & set(document_terms(document))


def test_words_of_indic_scripts_are_whole() -> None:
    assert len(document_terms("हिन्दी में किताबें")) == 3
    assert len(document_terms("বাংলা ভাষা")) == 2
    assert len(document_terms("தமிழ் മലയാളം ಕನ್ನಡ తెలుగు")) == 4


def test_an_apostrophe_cuts_no_letter_off_as_a_term() -> None:
    assert document_terms("L'Oréal rock'n'roll") == ["oreal", "loreal", "rock", "roll", "rocknrol"]
    assert document_terms("v2.5 1-2") == ["v2", "5", "1", "2"]
    assert query_terms("don't it's I'm we're the best") == ["best"]


@pytest.mark.parametrize("text", ["ʼ", "ʼʼ", "a ʼ b", "п ʼ ять", "'ʼ'", "#ʼ", "-ʼ-", "ʼ."])
def test_an_apostrophe_that_is_a_letter_may_stand_alone(text: str) -> None:
    assert all(document_terms(text))
    assert set(query_terms(text)) <= set(document_terms(text))
    assert query_terms(text)


def test_stop_words_are_recognised_before_they_are_stemmed() -> None:
    assert query_terms("a doe does run") == ["doe", "run"]


@given(st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8))
def test_no_text_of_letters_is_without_terms(text: str) -> None:
    assert query_terms(text)
    assert set(query_terms(text)) <= set(document_terms(text))
    assert fold(fold(text)) == fold(text) or not text.isascii()


@pytest.mark.parametrize(
    "text", ["-" * 20_000, "a-" * 10_000, "a'" * 10_000, "ก" * 20_000, "#" + "aB" * 10_000, "و" * 20_000]
)
def test_long_runs_take_linear_time(text: str) -> None:
    assert sum(map(len, document_terms(text))) <= 2 * len(text)


def test_threads_have_stemmers_of_their_own() -> None:
    words = [f"running{number}s recipes{number}" for number in range(300)]
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(document_terms(" ".join(words)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 4
