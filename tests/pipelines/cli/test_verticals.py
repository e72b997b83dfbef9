"""`cippus verticals`: the roster in the terminal and as JSON."""

import json

import pytest
from typer.testing import CliRunner

from pipelines.cli import verticals
from pipelines.cli.main import app
from resources.errors import InputError

_FIGURES = {
    "precision": 0.8, "precision_low": 0.7, "precision_high": 0.9, "bar_precision": 0.7,
    "recall": None, "recall_low": None, "recall_high": None, "bar_recall": 0.5,
}  # fmt: skip
ROWS = [
    {**_FIGURES, "item_kind": "post", "vertical": "food", "status": "ship", "members": 40, "reason": "Proved."},
    {**_FIGURES, "item_kind": "account", "vertical": "travel", "status": "drop", "members": None, "reason": "[red]No"},
]


@pytest.fixture(autouse=True)
def roster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verticals, "_roster", lambda: ROWS)
    monkeypatch.setattr(verticals, "require_stack", lambda: None)
    monkeypatch.setenv("COLUMNS", "200")


def test_the_roster_says_status_figures_and_why() -> None:
    shown = CliRunner().invoke(app, ["verticals"]).output
    assert "0.80 (0.70–0.90, bar 0.70)" in shown
    assert "– (bar 0.50)" in shown
    assert "[red]No" in shown
    assert "1 of 2 ship." in shown


def test_one_kind_alone_and_json() -> None:
    found = json.loads(CliRunner().invoke(app, ["verticals", "--kind", "post", "--json"]).output)
    assert [row["vertical"] for row in found["verticals"]] == ["food"]
    with pytest.raises(InputError, match="The kind is video; it must be post or account"):
        CliRunner().invoke(app, ["verticals", "--kind", "video"], catch_exceptions=False)
