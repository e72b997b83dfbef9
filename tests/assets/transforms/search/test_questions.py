"""The topic of a question, and what fits it."""

import pytest

from assets.transforms.search.questions import topic


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which creators talk about sustainable fashion, and what do they say?", "sustainable fashion"),
        ("Who has an opinion on electric cars?", "electric cars"),
        ("vegan recipes", "vegan recipes"),
        ("What is it?", "What is it?"),
        ("¿Quién habla de moda?", "moda"),
        ("Qui montre comment faire un bonnet en laine soi-même ?", "montre faire bonnet laine soi même"),
        ("Qu'est-ce que les vidéastes pensent de l'iPhone X ?", "iPhone X"),
        ("Wer hat die Rallye du Var 2017 gefilmt?", "Rallye du Var 2017 gefilmt"),
        ("Quem fala sobre moda sustentável?", "moda sustentável"),
        ("Кто рассказывает о стачках на предприятиях?", "стачках предприятиях"),
        ("Who will die in the show?", "die"),
        ("Who talks about L'Oréal?", "L'Oréal"),
        ("Qui teste les produits de L’Oréal ?", "teste produits L’Oréal"),
        ("die on the road", "die road"),
        ("サステナブル?", "サステナブル"),
        ("  ", ""),
    ],
)
def test_a_topic_is_what_a_question_does_not_ask_with(question: str, expected: str) -> None:
    assert topic(question) == expected
