"""Claims of a model: what is read, and what their posts carry."""

from typing import Any

import numpy as np
import pytest

from assets.transforms import claims
from assets.transforms.claims import Claim


def test_only_known_ids_and_whole_claims_are_read() -> None:
    value = {
        "claims": [
            {"text": " Anna  mends. ", "post_ids": ["a/1", "a/1", "nobody", 7]},
            {"text": "Invented.", "post_ids": ["nobody"]},
            {"text": "No ids."},
            {"text": "", "post_ids": ["a/1"]},
            {"text": 3, "post_ids": ["a/1"]},
            "x",
        ]
    }
    kept, dropped = claims.parsed(value, {"a/1"})
    assert kept == [Claim("Anna mends.", ("a/1",))]
    assert [each.text for each in dropped] == ["Invented.", "No ids."]
    others: list[Any] = [None, [], "text", {"claims": None}, {"claims": {"text": "x"}}]
    for odd in others:
        assert claims.parsed(odd, {"a/1"}) == ([], [])


@pytest.mark.parametrize(
    ("claim", "post", "reason"),
    [
        ("It took 40 minutes.", "Charging took 40 minutes.", None),
        ("It took 45 minutes.", "Charging took 40 minutes.", "number 45"),
        ("It costs 1,000 euros.", "It costs 1000 euros.", "number 1,000"),
        ("She likes Tesla cars.", "I like electric cars.", "name Tesla"),
        ("She likes Tesla's cars.", "I like tesla cars.", None),
        ("She does not mend clothes.", "I mend clothes.", "opposite"),
        ("She mends clothes.", "I never mend clothes.", "opposite"),
        ("She doesn't mend clothes.", "I do not mend clothes.", None),
        ("Sie kauft keine Kleidung.", "Ich kaufe Kleidung.", "opposite"),
        ("The box costs $5.", "The box costs 5 euros.", "number $5"),
        ("The box costs 5 euros.", "The box costs 5€.", None),
        ("They have three children.", "We have two children.", "number three"),
        ("They have three children.", "We have 3 children.", None),
        ("Anna Miller bakes.", "We bake every day.", "name Anna"),
        ("March 5 is the opening.", "The opening is on April 5.", "name March"),
        ("Bakes bread every day.", "We bake every day.", None),
        ("Μιλά για τον Ολυμπιακό.", "Μιλά για ποδόσφαιρο.", "name Ολυμπιακό"),
        ("Он не ест мясо.", "Он ест мясо.", "opposite"),
        ("肉を食べない。", "肉を食べる。", "opposite"),
    ],
)
def test_exact_words_speak_against_a_claim(claim: str, post: str, reason: str | None) -> None:
    found = claims.contradiction(claim, [post], post)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_german_nouns_are_no_names() -> None:
    assert claims.contradiction("Sie backt Brote.", ["Ich backe Brot"], "Ich backe Brot") is not None
    assert claims.contradiction("Sie backt Brote.", ["Ich backe Brot"], "Ich backe Brot", "de") is None
    assert claims.contradiction("Sie traf Anna Meier.", ["Ich backe Brot"], "Ich backe Brot", "de") is not None


def test_posts_far_from_a_claim_are_not_cited() -> None:
    said = [claims.Said(id_, id_, np.eye(3, dtype=np.float32)[axis]) for id_, axis in (("a", 0), ("b", 1), ("c", 0))]
    vector = np.array([0.8, 0.6, 0.0], np.float32)
    assert claims.supported(Claim("x", ("b", "a")), vector, said, 0.7) == (Claim("x", ("a",)), "a")
    assert claims.supported(Claim("x", ("b", "a")), vector, said, 0.5)[0].post_ids == ("a", "b")
    assert claims.supported(Claim("x", ("missing",)), vector, said, 0.5) == (Claim("x", ()), "")


def test_only_ids_that_were_sent_can_be_cited() -> None:
    ids = claims.schema(["p"])["properties"]["claims"]["items"]["properties"]["post_ids"]
    assert ids["items"]["enum"] == ["p"]
