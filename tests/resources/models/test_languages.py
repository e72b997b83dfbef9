"""Languages of posts as they are written: short, with names, emoji, tags."""

import subprocess
import sys

import pytest

from resources.models.languages import identify


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Just finished my first marathon, what a feeling! @anna #running", "en"),
        ("Hoy vamos a cocinar una paella con mi abuela en Valencia", "es"),
        ("Heute backen wir zusammen ein frisches Sauerteigbrot", "de"),
        ("Aujourd'hui on teste les nouvelles chaussures de randonnée 🥾", "fr"),
        ("Receita fácil de bolo de cenoura com cobertura de chocolate", "pt"),
        ("今日は新しいカメラで桜を撮りに行きました", "ja"),
        ("오늘은 집에서 김치찌개를 만들어 봤어요", "ko"),
        ("Σήμερα πήγαμε για μπάνιο στη θάλασσα", "el"),
        ("Сегодня мы готовим борщ по бабушкиному рецепту", "ru"),
        ("اليوم سنتعلم كيف نصنع الخبز في البيت", "ar"),
        ("วันนี้เราจะมาทำอาหารไทยกัน", "th"),
    ],
)
def test_a_sentence_tells_its_language(text: str, language: str) -> None:
    assert identify([text]) == [language]


@pytest.mark.parametrize(
    "text", ["", "🎉🎉🎉", "Ok!", "@anna @bob #running", "2024 1234567890", "Haha", "12345 aaaa bbbb cccc"]
)
def test_what_is_too_short_tells_nothing(text: str) -> None:
    assert identify([text]) == [None]


def test_answers_come_in_order_and_from_any_iterable() -> None:
    texts = ["Good morning everybody, how are you today?", "", "Guten Morgen, wie geht es euch heute allen?"]
    assert identify(iter(texts)) == ["en", None, "de"]


def test_a_long_text_is_read_from_its_beginning() -> None:
    assert identify(["We are going to the beach with all of our friends. " * 100 + "今日は" * 10_000]) == ["en"]


def test_nothing_is_fetched() -> None:
    program = """
import socket
def refuse(*_): raise AssertionError("a connection was tried")
socket.socket.connect = refuse
from resources.models.languages import identify
print(identify(["Ceci est une phrase en français"]))
"""
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "['fr']"
