"""Other spellings of a query's words: compounds, Hebrew and Arabic prefixes and plurals, Chinese characters, kana."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.models.analyzer import document_terms, query_forms, query_terms
from resources.models.forms import MOST_JOINED


def is_met(query: str, document: str) -> bool:
    """Return whether a document has each term of a query, or a form that stands for it."""
    held = set(document_terms(document))
    stands_for = {part for form, parts in query_forms(query) if form in held for part in parts}
    return set(query_terms(query)) <= held | stands_for


@pytest.mark.parametrize(
    ("query", "document"),
    [
        # compounds
        ("vegan recipes", "#veganrecipes"), ("Vegan Recipes", "#VEGANRECIPES"), ("street food", "#streetfood"),
        ("make up", "makeup tutorial"), ("wi fi", "wifi router"), ("k pop", "#kpop"), ("rock n roll", "rock'n'roll"),
        ("best vegan recipes ever", "best #veganrecipes ever"), ("лучшие рецепты", "#лучшиерецепты"),
        # Hebrew prefixes: the, and, in, to, from, as, that
        ("מתכון", "המתכון של סבתא"), ("קפה", "וקפה שחור"), ("תל אביב", "בתל אביב"), ("בית", "לבית החולים"),
        ("ירושלים", "מירושלים באהבה"), ("שולחן", "כשולחן עגול"), ("ילד", "שהילד רץ"), ("הילדים", "ילדים משחקים"),
        ("בבית", "בית גדול"),
        # Arabic prefixes and plurals
        ("والقهوة", "قهوة عربية"), ("وصفات", "أفضل الوصفات"), ("سيارة", "سيارات للبيع"), ("كتب", "كتاب جميل"),
        ("كتاب", "كتب كثيرة"), ("ولد", "أولاد الحي"), ("أولاد", "ولد صغير"), ("مدارس", "مدرسة جديدة"),
        ("مدرسة", "المدارس الجديدة"), ("بيوت", "بيت قديم"), ("صورة", "صور جميلة"), ("رجال", "رجل طويل"),
        # simplified and traditional characters
        ("台湾夜市", "台灣夜市 小吃"), ("臺灣", "台湾"), ("头发护理", "頭髮護理"), ("发现", "發現新店"),
        ("乾杯", "干杯"), ("猫粮", "貓糧評測"), ("讲", "我想講"), ("學", "学习"), ("面条", "麵條"), ("裡面", "里面"),
        ("視頻", "视频剪辑"),
        # kana
        ("ラーメン", "らーめん大好き"), ("らーめん", "ラーメン"), ("いちご", "イチゴ狩り"), ("ネコ", "ねこカフェ"),
    ],
)  # fmt: skip
def test_another_spelling_is_met(query: str, document: str) -> None:
    assert is_met(query, document)


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("בית", "ית"),
        ("ספר", "סופר"),
        ("قلم", "علم"),
        ("vegan recipes", "vegan"),
        ("vegan, recipes 5", "recipes5"),
        ("台湾", "台中"),
        ("头发", "頭痛"),
        ("后", "候"),
        ("ねこ", "ネギ"),
    ],
)
def test_other_words_are_not_met(query: str, document: str) -> None:
    assert not is_met(query, document)


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "Zs"]), max_size=30))
def test_forms_are_bounded(text: str) -> None:
    words = len(document_terms(text)) + 1
    assert len(query_forms(text)) <= (MOST_JOINED + 150) * words
    assert all(parts for _, parts in query_forms(text))
