"""No text of data is markup or a control sequence in what the commands print."""

import io
import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from assets.search.query import Answer
from assets.transforms.claims import Claim, DroppedClaim
from assets.transforms.search.answers import AskAnswer, Passage
from assets.transforms.search.attributes import AboutAccount
from assets.transforms.search.names import NameMatch
from assets.transforms.search.query_language import Query
from assets.transforms.search.ranking import Evidence, RankedAccount
from pipelines.cli import ask, doctor, erase, governor, presentation
from pipelines.cli.diagnosis.registry import Finding, Status
from pipelines.cli.lineage import CheckOutcome, LineageReport
from pipelines.cli.terminal import print_json, shown
from pipelines.samples.load import LoadReport, TableReport
from resources.local_stack import EmbeddedStack

HOSTILE = [
    "\x1b]52;c;aGk=\x07",
    "\x1b]0;title\x1b\\",
    "\x9b31mred\x9d0;t\x9c",
    "[/x]",
    "[red]a[/red]\\",
    "\\[bold]",
    ":smile: [link=file:///etc/passwd]x[/link]",
    "\u202eabc\u2066\u200f",
    "a\u2028b\u2029\x85\r\x0b",
    "\ud800",
    "\ufeff\u00ad\U000e0001",
]
DIRECTIONS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
# Unicode blocks, each as likely as another: printable, marks, controls, directions, surrogates, planes above.
texts = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Mn"]),
        st.sampled_from("[]/\\=#@:\x1b\x9b\u202e"),
    ),
    max_size=30,
)


def evidence(text: str) -> Evidence:
    fields = dict.fromkeys(Evidence.__dataclass_fields__, 0.0)
    return Evidence(**{**fields, "post_id": text, "text": text})  # type: ignore[arg-type]


def status(text: str) -> dict[str, Any]:
    numbers = dict.fromkeys(("requests", "throttled", "wasted_share", "given_up", "waited_seconds", "rate"), 1)
    return {"pid": 1, "upstream": text, "prefixes": [{"bucket": text, "prefix": text, "verb": text, **numbers}]}


def receipt(text: str) -> dict[str, Any]:
    places = {"places": 1, "left_in": [text]}
    return {
        "removed": {text: {text: 1}},
        "found_before": places,
        "found_after": places,
        "not_searched": {text: text},
        "notes": [text],
        "account": text,
        "attempt": text,
    }


def answer(text: str) -> Answer:
    about = AboutAccount(text, text, text, text, text, 1, (text,))
    name = NameMatch("handle", 1.0, is_exact=True)
    accounts = [
        RankedAccount(text, handle, 1.0, 1.0, 0.0, [evidence(text)], 0.0, name, 0.5, about) for handle in (text, None)
    ]
    return Answer(accounts, Query(text), {text: text}, {"network": {text: 1}}, 2, is_complete=False)


def asked(text: str) -> AskAnswer:
    claims = Claim(text, (text,), text), Claim(text, (text,))
    passages = (Passage(text, text, text or None, text),)
    return AskAnswer(text, "quotes", claims, passages, text, text, (DroppedClaim(text, text),), text, text)


RENDERERS: dict[str, Callable[[Console, str], None]] = {
    "search": lambda to, text: presentation.show_answer(to, text, answer(text), facets=True),
    "search without a result": lambda to, text: presentation.show_answer(to, text, Answer([], Query())),
    "ask": lambda to, text: ask.show(to, [asked(text)]),
    "ask as JSON": lambda to, text: print_json(ask.as_values(asked(text))),
    "load": lambda to, text: presentation.show_load(
        to, Path(text), LoadReport({"posts": TableReport(rejected=Counter([text]), ignored_columns=(text,))}, 1)
    ),
    "up": lambda to, text: presentation.show_stack(to, Path(text), EmbeddedStack(text, text, text, text)),
    "run": lambda to, text: presentation.show_run(to, LineageReport(1.0, {text: {text: 1}})),
    "checks": lambda to, text: presentation.show_checks(
        to, [CheckOutcome(text, text, False, "ERROR", text)], {text: text}
    ),
    "doctor": lambda to, text: doctor._show([Finding(Status.ERROR, text, text, text)]),
    "status": lambda to, text: governor.show(to, [status(text)]),
    "erase": lambda to, text: erase._show(receipt(text), as_json=False),
    "scan": lambda to, text: erase._show_scan(
        {"objects": 1, "bytes": 1, "layers": {text: {text: 1}}, "not_searched": {text: text}}, [], as_json=False
    ),
    "json": lambda to, text: print_json({text: [text]}),
}
OF_TABLES = [name for name in RENDERERS if "json" not in name.lower()]


def printed(render: Callable[[Console, str], None], text: str) -> str:
    target = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    to = Console(file=target, width=200, emoji=False, force_terminal=False)
    with (
        patch.multiple("pipelines.cli.erase", out=to, err=to),
        patch("pipelines.cli.doctor.out", to),
        patch("pipelines.cli.terminal.out", to),
    ):
        render(to, text)
    target.flush()
    return target.buffer.getvalue().decode()


def controls(text: str) -> set[str]:
    found = {c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")} - {"\n"}
    return found | {c for c in text if unicodedata.bidirectional(c) in DIRECTIONS}


@pytest.mark.parametrize("name", RENDERERS)
def test_no_output_has_controls_and_none_fails(name: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(texts)
    def check(text: str) -> None:
        assert controls(printed(RENDERERS[name], text.replace("\0", "\1"))) == set()

    for text in HOSTILE:
        check = example(text)(check)
    check()


@pytest.mark.parametrize("name", OF_TABLES)
def test_what_looks_like_markup_or_an_emoji_code_is_shown_as_it_is(name: str) -> None:
    for text in ("[/x]", "[bold]a[/bold]", ":smile:"):
        assert text in printed(RENDERERS[name], text)


@given(texts)
def test_a_shown_text_is_the_text_with_its_controls_written_out(text: str) -> None:
    once = Text.from_markup(shown(f"<{text}>"), emoji=False).plain
    assert not controls(once)
    assert once.isprintable() or not once.splitlines()[1:]
    assert shown(once) == shown(f"<{text}>")
    if not controls(text) and text.isprintable():
        assert once == f"<{text}>"


def test_json_keeps_the_text() -> None:
    assert json.loads(printed(RENDERERS["json"], "\x1b\u202eé\ud800")) == {"\x1b\u202eé\ud800": ["\x1b\u202eé\ud800"]}


@pytest.mark.parametrize("name", OF_TABLES)
def test_no_text_of_data_begins_a_line(name: str) -> None:
    """Such a line would look like one of the command's own."""
    for text in ("a\ncippus: done", "a\r\ncippus: done", "a\x0bcippus: done", "a\u2028cippus: done"):
        shown_lines = printed(RENDERERS[name], text).splitlines()
        assert not [line for line in shown_lines if line.strip(" │┃").startswith("cippus: done")]


def test_controls_are_written_as_python_writes_them() -> None:
    assert shown("a\x1b]0;t\x07\u202e👩\u200d🍳") == "a\\x1b]0;t\\x07\\u202e👩\u200d🍳"
