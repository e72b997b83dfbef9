"""`cippus spend`: what is charged, what is left, and who raised a ceiling."""

import json
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from pipelines.cli import spend
from pipelines.cli.main import app
from resources.errors import InputError
from resources.spend.dollars import dollars
from resources.spend.ledger import Ledger, settled
from resources.spend.spender import Spender
from tests.fakes.spend_store import MemoryStore


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    found = Ledger(MemoryStore(), {"project": Decimal(10)})
    monkeypatch.setattr(spend, "_ledger", lambda: found)
    by = Spender(found, "r1", "summary/x", "m")
    by.reserve("a.1", Decimal(2))
    by.sent("a.1")
    by.settle("a.1", settled("a.1", Decimal("0.70")))
    by.close()
    return found


def test_show_tells_what_is_left_and_how_long_it_lasts(ledger: Ledger) -> None:
    found = json.loads(CliRunner().invoke(app, ["spend", "show", "--json"]).output)
    assert found["scopes"]["project"] == {"charged": "0.70", "ceiling": "10", "left": "9.30"}
    assert found["scopes"]["model:m"]["charged"] == "0.70"
    assert found["days"] == {"2026-11-29": "0.70"}
    assert found["days_left"] == 93
    shown = CliRunner().invoke(app, ["spend", "show"]).output
    assert "lasts 93 days" in shown
    assert "$0.70" in shown
    assert CliRunner().invoke(app, ["spend"]).output == shown


def test_raise_sets_a_ceiling_and_keeps_the_reason(ledger: Ledger) -> None:
    done = CliRunner().invoke(app, ["spend", "raise", "project", "25.5", "--why", "the board agreed"])
    assert "The ceiling of project is $25.5; it was $10." in done.output
    [change] = ledger.account().changes
    assert (change.new, change.why) == (Decimal("25.5"), "the board agreed")
    assert "@" in change.who


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["everything", "5", "--why", "x"], "The ceiling is everything"),
        (["asset:", "5", "--why", "x"], "The ceiling is asset:"),
        (["day:2026-11-29", "5", "--why", "x"], "The ceiling is day:2026-11-29"),
        (["project", "much", "--why", "x"], "The new ceiling is much"),
        (["project", "NaN", "--why", "x"], "The new ceiling is NaN"),
        (["project", "-1", "--why", "x"], None),
        (["project", "5", "--why", " "], "The reason is blank"),
    ],
)
def test_raise_refuses_what_is_no_ceiling(ledger: Ledger, arguments: list[str], sentence: str | None) -> None:
    done = CliRunner().invoke(app, ["spend", "raise", *arguments])
    assert done.exit_code != 0
    if sentence is not None:
        assert isinstance(done.exception, InputError)
        assert sentence in str(done.exception)
    assert ledger.account().changes == ()


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0.00"), (0.00042, "0.00042"), (0.0199, "0.020"), (0.1, "0.10"), (12.345, "12.35"), (169_840.4, "169,840.40")],
)
def test_a_price_never_reads_as_nothing(amount: float, text: str) -> None:
    assert dollars(amount) == text
