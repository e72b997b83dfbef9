"""What a query means: words, phrases, exclusions and names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.transforms.search.query_language import Query, acceptance, folded, parse


def words(text: str) -> frozenset[int]:
    """Terms as a stemmer gives them: words without a final s."""
    return frozenset(hash(word.rstrip("s")) for word in folded(text).split())


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("vegan recipes", Query("vegan recipes")),
        ("  vegan \n recipes ", Query("vegan recipes")),
        ('"vegan recipes"', Query(phrases=("vegan recipes",))),
        ('easy "vegan recipes" berlin', Query("easy berlin", ("vegan recipes",))),
        ('"a b" "c d"', Query(phrases=("a b", "c d"))),
        ("“a b” „c d“ «e f» 「東京」 『京都』", Query(phrases=("a b", "c d", "e f", "東京", "京都"))),
        ('foo"bar baz"', Query("foo", ("bar baz",))),
        ('"unbalanced phrase', Query("unbalanced phrase")),
        ('5" pizza', Query("5 pizza")),
        ('"" vegan', Query("vegan")),
        ('"?!" vegan', Query("vegan")),
        ("vegan -meat", Query("vegan", excluded_words=("meat",))),
        ("-meat vegan -fish", Query("vegan", excluded_words=("meat", "fish"))),
        ('vegan -"soy milk"', Query("vegan", excluded_phrases=("soy milk",))),
        ("vegan -„soy milk“", Query("vegan", excluded_phrases=("soy milk",))),
        ('"vegan recipes" -meat -"soy milk" easy', Query("easy", ("vegan recipes",), ("meat",), ("soy milk",))),
        ("wi-fi hi-fi", Query("wi-fi hi-fi")),
        ("-wi-fi router", Query("router", excluded_words=("wi-fi",))),
        ("- vegan --", Query("vegan")),
        ("--vegan", Query("--vegan")),
        ("-", Query()),
        ("-5 degrees", Query("degrees", excluded_words=("5",))),
        ("-🍕 pasta", Query("pasta", excluded_words=("🍕",))),
        ("@nasa", Query(name="nasa")),
        (" @ nasa ", Query(name="nasa")),
        ("@De jolies choses", Query(name="De jolies choses")),
        ('@"quoted" -x', Query(name='"quoted" -x')),
        ("@@nasa", Query(name="nasa")),
        ("@", Query(name="")),
        ("mail@nasa.example", Query("mail@nasa.example")),
        ("", Query()),
    ],
)
def test_a_query_is_read(text: str, query: Query) -> None:
    assert parse(text) == query


@pytest.mark.parametrize(
    ("query", "text", "allowed"),
    [
        ('"vegan recipes"', "My Vegan Recipes!", True),
        ('"vegan recipes"', "vegan-recipes", True),
        ('"vegan recipes"', "recipes, vegan", False),
        ('"vegan recipes"', "vegan recipe", False),
        ('"vegan recipes"', "supervegan recipes", False),
        ('"vegan recipes"', "vegan recipesbook", False),
        ('"vegan recipes"', "vegan 🌱 recipes", False),
        ('"CAFÉ noir"', "cafe noir", True),
        ('"creme"', "Crème brûlée", True),
        ('"ＶＥＧＡＮ"', "vegan", True),
        ('"東京カフェ"', "今日は東京カフェへ", True),
        ('"東京カフェ"', "東京のカフェ", False),
        ('"ผัดไทย"', "กินผัดไทยอร่อย", True),
        ('"мир труд"', "Мир, труд, май", True),
        ('"मेला"', "माला", False),
        ('"मेला"', "बड़ा मेला है", True),
        ('"a b" "c"', "c a b", True),
        ('"a b" "c"', "a b", False),
        ("x -recipe", "vegan recipes", False),
        ("x -recipes", "vegan recipe", False),
        ("x -recipe", "vegan cooking", True),
        ('x -"soy milk"', "soy and milk", True),
        ('x -"soy milk"', "Soy-Milk", False),
        ("x -soy -milk", "milk", False),
        ("x -🍕", "love 🍕", False),
        ("x -🍕", "love 🍔", True),
        ("x -É", "e", False),
        ("x", "anything", True),
        ("x -wi-fi", "wi fi router", False),
        ("x -wi-fi", "wi router", True),
    ],
)
def test_a_text_is_allowed(query: str, text: str, allowed: bool) -> None:
    assert acceptance(parse(query), words)(text) is allowed


@given(st.text(max_size=30))
@settings(max_examples=50, deadline=None)
def test_any_text_is_a_query_and_a_phrase_finds_itself(text: str) -> None:
    parse(text)
    phrase = text.replace('"', "")
    if folded(phrase) and not set(phrase) & set("“”„«»「」『』") and not phrase.strip().startswith("@"):
        assert acceptance(parse(f'x "{phrase}"'), words)(f"before {phrase} behind")
