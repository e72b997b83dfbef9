"""`cippus verticals`: the roster in the terminal and as JSON."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from assets.marts.tables import MARTS
from assets.search.query import Answer
from assets.transforms.search.query_language import Query
from pipelines.cli import export, verticals
from pipelines.cli.main import app
from pipelines.cli.search import as_values
from resources.catalogues import load_verticals, overrides_of
from resources.errors import InputError
from tests.worlds.shipping_catalogue import DATE, REASON

_FIGURES = {
    "precision": 0.8, "precision_low": 0.7, "precision_high": 0.9, "bar_precision": 0.7,
    "recall": None, "recall_low": None, "recall_high": None, "bar_recall": 0.5,
}  # fmt: skip
LONGEST = max((vertical.name for vertical in load_verticals()), key=len)
ROWS = [
    {**_FIGURES, "item_kind": "post", "vertical": LONGEST, "status": "ship", "members": 40, "reason": "Proved."},
    {**_FIGURES, "item_kind": "account", "vertical": "travel", "status": "drop", "members": None, "reason": "[red]No"},
]


AUDITED = {"method": "probe", "item_kind": "account", "label_errors": "macro-F1 0.5; 0.6 without 3 doubted labels"}


@pytest.fixture(autouse=True)
def roster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verticals, "_roster", lambda: ROWS)
    monkeypatch.setattr(verticals, "_audited", lambda: [AUDITED])
    monkeypatch.setattr(verticals, "require_stack", lambda: None)
    monkeypatch.setattr(verticals, "out", Console(width=80, emoji=False))


def test_the_roster_says_status_figures_and_why_in_80_columns() -> None:
    shown = CliRunner().invoke(app, ["verticals"]).output
    assert max(map(len, shown.splitlines())) <= 80
    assert f"│ {LONGEST} │ ship " in shown
    assert "│ 0.80 (bar 0.70) │" in shown
    assert "│ 0.70–0.90 " in shown
    assert "– (bar 0.50)" in shown
    assert f"{LONGEST}: Proved." in shown
    assert "travel: [red]No" in shown
    assert "1 of 2 ship." in shown
    assert "Labels of accounts, by probe: macro-F1 0.5; 0.6" in shown


def test_needs_labels_is_wrapped_where_it_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {**ROWS[0], "status": "needs labels", "recall": 0.5, "recall_low": 0.4, "recall_high": 0.6, "members": 1234}
    monkeypatch.setattr(verticals, "_roster", lambda: [row])
    lines = CliRunner().invoke(app, ["verticals", "--kind", "post"]).output.splitlines()
    assert f"│ {LONGEST} │ needs  │ 0.80 (bar 0.70) │ 0.50 (bar 0.50) │ 1,234   │" in lines
    assert f"│ {' ' * len(LONGEST)} │ labels │ 0.70–0.90       │ 0.40–0.60       │         │" in lines


def test_one_kind_alone_and_json() -> None:
    found = json.loads(CliRunner().invoke(app, ["verticals", "--kind", "post", "--json"]).output)
    assert [row["vertical"] for row in found["verticals"]] == [LONGEST]
    assert found["label_audit"] == []
    with pytest.raises(InputError, match="The kind is video; it must be post or account"):
        CliRunner().invoke(app, ["verticals", "--kind", "video"], catch_exceptions=False)


def test_a_search_in_a_vertical_says_what_a_person_decided_about_it() -> None:
    said = {"travel": f"travel is shipped by a person on {DATE}: {REASON}"}
    assert overrides_of(["travel", "gone"]) == said
    assert as_values("q", Answer([], Query(), facets={"vertical": {"travel": 3}}), 1)["overrides"] == said


def test_an_export_of_verticals_says_what_people_decided_and_others_say_nothing() -> None:
    marts = {spec.name: spec for spec in MARTS}
    assert export._overrides([marts["mart/vertical_coverage"]])["travel"].endswith(REASON)
    assert export._overrides([marts["mart/audiences"]]) == {}
