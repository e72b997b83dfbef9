"""`cippus ask`: an answer in the terminal and as JSON."""

import io
from collections.abc import Iterator

from rich.console import Console

from assets.transforms.claims import Claim, DroppedClaim
from assets.transforms.search.answers import NO_FIT, AskAnswer, Passage
from pipelines.cli.ask import as_values, show

HOSTILE = "[red]x[/red] \x1b]0;t\x07 \u202e"
SOURCES = (Passage("p1", "a", HOSTILE, f"{HOSTILE} said"), Passage("p2", "b", None, "Other words"))


def printed(answer: AskAnswer) -> str:
    out = io.StringIO()
    show(Console(file=out, width=200), [answer])
    return out.getvalue()


def test_quotes_are_under_their_accounts_and_no_text_is_markup() -> None:
    claims = (Claim(HOSTILE, ("p1",), "a"), Claim("Other words", ("p2",), "b"))
    text = printed(AskAnswer("q", "quotes", claims, SOURCES, seconds=0.25))
    assert "“[red]x[/red] \\x1b]0;t\\x07 \\u202e” [1]" in text
    assert "“Other words” [2]" in text
    assert "\nb\n" in text
    assert "[2] p2 Other words" in text
    assert "quotes, 0.2 s" in text
    assert "\x1b" not in text


def test_a_models_claims_have_their_cost_and_what_is_not_shown() -> None:
    dropped = (DroppedClaim("Invented", "It cites no post that was found."),)
    answer = AskAnswer("q", "model", (Claim("Both said so", ("p1", "p2")),), SOURCES, dropped=dropped, usd="0.0012")
    text = printed(answer)
    assert "- Both said so [1][2]" in text
    assert "Not shown: Invented (It cites no post that was found.)" in text
    assert "model, $0.0012" in text


def test_without_an_answer_it_says_so_and_why_no_model_answered() -> None:
    text = printed(AskAnswer("q", "quotes", (), (), NO_FIT, note="The ceiling is reached."))
    assert NO_FIT in text
    assert "The ceiling is reached. The answer is made of quotes." in text


def test_claims_are_printed_as_they_come_and_once() -> None:
    out = io.StringIO()
    seen = []

    def growing() -> Iterator[AskAnswer]:
        claims = (Claim("First", ("p1",)), Claim("Second", ("p1", "p2")))
        yield AskAnswer("q", "model", (), ())
        yield AskAnswer("q", "model", claims[:1], SOURCES[:1])
        seen.append(out.getvalue())
        yield AskAnswer("q", "model", claims, SOURCES, note="The answer is not complete. It was cut off.")

    show(Console(file=out, width=200), growing())
    assert seen == ["- First [1]\n"]
    assert out.getvalue().startswith("- First [1]\n- Second [1][2]\nThe answer is not complete. It was cut off.\n")
    assert "made of quotes" not in out.getvalue()


def test_json_has_the_numbers_of_the_sources() -> None:
    values = as_values(AskAnswer("q", "model", (Claim("x", ("p2", "p1")),), SOURCES))
    assert values["claims"] == [{"text": "x", "post_ids": ("p2", "p1"), "account_id": None, "citations": [2, 1]}]
    assert [source["number"] for source in values["sources"]] == [1, 2]
