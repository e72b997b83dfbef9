"""Every view as a browser gets it: hostile text stays text, nothing is asked of others, and errors are sentences."""

import datetime as dt
import re
from html.parser import HTMLParser
from urllib.parse import quote

import polars as pl
import pytest
from dagster import DagsterInstance

from assets.labels.pairs import LEARNING_CURVE
from assets.marts.comparison import MODEL_COMPARISON
from assets.marts.operations import ESTIMATES
from assets.verticals.held_out import HELD_OUT
from pipelines.web import pages
from pipelines.web.charts import bar_chart
from resources.catalogues import load_verticals
from tests.pipelines.web.conftest import Open
from tests.worlds.shipping_catalogue import DATE, REASON
from tests.worlds.small_site import HOSTILE, VERTICAL, SmallSite
from tests.worlds.text_outputs import Output
from tests.worlds.text_verdict import faults

WHO = quote(HOSTILE, safe="")
ADDRESSES = (
    *(
        "/",
        "/?q=sourdough",
        f"/?q={WHO}",
        f"/?q=sourdough&network={WHO}",
        "/?q=gardening&page=2",
        "/?like=anna",
        f"/?like={WHO}",
        f"/?q=%40{WHO}",
    ),
    *("/ask", "/ask?q=sustainable+fashion", "/ask?q=sourdough", f"/ask?q={WHO}"),
    *(f"/creator?id={WHO}", "/creator?id=anna", f"/creator?id={WHO}&page=9", f"/creator?id=no{WHO}"),
    *("/label", f"/label?annotator=ann&vertical={VERTICAL}&item={WHO}%2F1", f"/label?annotator={WHO}&vertical={WHO}"),
    *("/verticals", f"/verticals?vertical={VERTICAL}", f"/verticals?vertical={WHO}"),
    *("/shortlists", f"/shortlists?name={WHO}", "/audit"),
    *("/testimonials", f"/testimonials?brand={WHO}", f"/testimonials?brand=Acme&campaign={WHO}"),
    *(f"/testimonials?brand=no{WHO}", f"/testimonials?q={WHO}", "/testimonials?brand="),
    *("/spend", "/pipeline", f"/no/{WHO}"),
)


class Seen(HTMLParser):
    """The tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_text_of_data_becomes_markup_and_nothing_is_asked_of_others(page: Open, address: str) -> None:
    answer = page().get(address)
    assert answer.status_code in (200, 400, 404)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert HOSTILE not in answer.text
    assert faults(Output(address, "html", answer.text)) == []
    assert "{{7*7}}" in answer.text or "49" not in answer.text
    tags = Seen(answer.text).tags
    for tag, attributes in tags:
        assert tag not in ("img", "iframe", "style", "object", "embed")
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        for name in ("src", "href", "action", "formaction"):
            assert re.match(r"[/?#](?!/)", attributes.get(name) or "/"), (tag, attributes)
    scripts = [attributes["src"] for tag, attributes in tags if tag == "script"]
    assert scripts in ([], ["/static/label.js"], ["/static/page.js"])


@pytest.mark.parametrize(
    "address",
    ["/", "/?q=sourdough", "/ask?q=sourdough", "/creator?id=anna", "/label", "/spend", "/verticals", "/testimonials"],
)
def test_a_page_can_be_read_by_keyboard_and_screen_reader(page: Open, address: str) -> None:
    tags = Seen(page().get(address).text).tags
    names = [tag for tag, _ in tags]
    assert names.count("h1") == names.count("main") == 1
    assert dict(tags)["html"] == {"lang": "en"}
    labelled = {attributes["for"] for tag, attributes in tags if tag == "label"}
    for tag, attributes in tags:
        if tag in ("input", "select") and attributes.get("type") != "hidden":
            assert attributes["id"] in labelled
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_result_has_numbers_tags_and_marked_words(page: Open) -> None:
    text = page().get(f"/?q=sustainable+fashion&vertical={VERTICAL}").text
    assert "<mark>Sustainable</mark> <mark>fashion</mark>" in text
    assert "0 followers" in text
    assert f"vertical={VERTICAL}" in text
    assert "Bela" not in text
    assert 'href="/creator?id=anna"' in text


@pytest.mark.parametrize("address", ["/?q=sourdough", "/ask?q=who+talks+about+sourdough", "/creator?id=anna"])
def test_a_post_dated_in_the_future_says_so(page: Open, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    shown = page().get(address).text
    assert "2026-03-01" in shown
    assert "dated in the future" not in shown
    monkeypatch.setattr(pages, "CLOCK_AHEAD", dt.datetime(2026, 2, 27, tzinfo=dt.UTC) - dt.datetime.now(dt.UTC))
    assert re.search(r"2026-03-01\s*<strong[^>]*>dated in the future</strong>", page().get(address).text)


def test_what_a_person_decided_is_shown_beside_the_vertical(page: Open) -> None:
    said = f'<small title="{REASON}">(shipped by a person on {DATE})</small>'
    assert page().get("/?q=sustainable+fashion").text.count(said) >= 2  # a facet, and a tag of a result
    override = load_verticals()[0].override
    assert override is not None
    assert f"({override.what})</option>" in page().get("/").text
    assert said in page().get("/creator?id=anna").text


def test_pages_follow_each_other_and_a_link_is_the_whole_state(page: Open) -> None:
    first = page().get("/?q=gardening&country=DE")
    [link] = re.findall(r'rel="next" href="([^"]+)"', first.text)
    address = link.replace("&amp;", "&")
    assert address == "/?q=gardening&country=DE&page=2"
    second = page().get(address).text
    shown = [re.findall(r'href="/creator\?id=([^"]+)"', text) for text in (first.text, second)]
    assert len(shown[0]) == 10
    assert not set(shown[0]) & set(shown[1])
    assert 'value="DE"' in second
    assert 'rel="prev"' in second


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("/?q=x&page=0", "The page is &#39;0&#39;; it must be a number from 1 to 50."),
        ("/?q=x&page=²", "it must be a number from 1 to 50."),
        ("/?q=" + "x" * 501, "The query has 501 characters; it may have 500."),
        ("/?like=nobody", "nobody"),
        ("/?q=x&country=Narnia", "Unknown country &#39;Narnia&#39;"),
        ("/?q=x&vertical=parkour", "Unknown vertical &#39;parkour&#39;; expected one of"),
        ("/?q=x&posted_after=yesterday", "is &#39;yesterday&#39;; it must be a day such as 2026-01-31."),
        ("/?q=x&min_followers=-1", "is &#39;-1&#39;; it must be a number of followers, 0 or more."),
        ("/?q=x&min_followers=5&max_followers=4", "No account has at least 5 and at most 4 followers."),
        ("/?q=https://example.org", "The query is empty"),
        ("/ask?q=x&posted_before=2026-02-31", "it must be a day such as 2026-01-31."),
        ("/creator?id=anna&page=x", "it must be a number from 1 to 500."),
        (f"/label?annotator=%20.&vertical={VERTICAL}", "it must begin with a letter a to z or a digit"),
        ("/label?annotator=ann&vertical=x", "The vertical is &#39;x&#39;; choose one of the list."),
    ],
)
def test_bad_input_is_a_sentence(page: Open, address: str, sentence: str) -> None:
    answer = page().get(address)
    assert answer.status_code == 400
    assert sentence in answer.text
    assert "Traceback" not in answer.text
    is_in_form = 'class="ask"' in answer.text
    assert ("back button returns to what you typed" in answer.text) is not is_in_form


def test_the_roster_shows_status_reason_and_intervals_and_the_mistakes_behind_them(page: Open) -> None:
    text = page().get("/verticals").text
    assert "needs labels" in text
    assert "0.80, from 0.70 to 0.90; the bar is 0.70" in text
    assert "1,200" in text
    assert text.count('class="range above"') == 2  # precision of posts and accounts reaches its bar, recall does not
    mistakes = page().get(f"/verticals?vertical={VERTICAL}&kind=post").text
    assert "Missed: people say that it belongs here" in mistakes
    assert "Tagged: people say that it does not belong here" in mistakes
    assert "I mend my clothes every winter" in mistakes
    assert "No labelled account" in page().get(f"/verticals?vertical={VERTICAL}&kind=account").text
    assert "must be post or account" in page().get("/verticals?kind=video").text


def test_an_unknown_creator_and_page_are_not_found(page: Open) -> None:
    assert page().get("/creator?id=nobody").status_code == 404
    assert "There is no such page." in page().get("/creators").text
    assert page().get("/static/../app.py").status_code == 404


def test_a_defect_is_a_sentence_and_is_logged(page: Open, caplog: pytest.LogCaptureFixture) -> None:
    broken = page(searcher=None)
    answer = broken.get("/?q=x")
    assert answer.status_code == 500
    assert "The page has a defect" in answer.text
    assert "NoneType" not in answer.text
    assert "NoneType" in caplog.text


def test_an_answer_cites_posts_on_the_page(page: Open) -> None:
    text = page().get("/ask?q=Who+talks+about+sustainable+fashion%3F").text
    targets = set(re.findall(r'href="#(post-\d+)"', text))
    assert targets
    assert targets <= set(re.findall(r'id="(post-\d+)"', text))
    assert "No post that was found answers" in page().get("/ask?q=steam+locomotives").text


def test_a_creator_has_numbers_over_time_summary_audience_and_posts(page: Open) -> None:
    text = page().get("/creator?id=anna").text
    for part in ("Posts by month", "Views of a post, mean by month", "<rect", "18-24", "40.0 %", "second hand shops"):
        assert part in text
    assert "2026-03: posts 1" in text


def test_a_chart_of_nothing_is_none_and_bars_stay_inside() -> None:
    assert bar_chart([], "posts") is None
    for points in ([("a", 0.0)], [("a", -1.0), ("b", 3.0)], [(str(n), float(n)) for n in range(500)]):
        chart = bar_chart(points, "posts")
        assert chart is not None
        assert all(bar.x >= 0 and bar.x + bar.width <= 460 and bar.y >= 24 for bar in chart.bars)
        assert all(bar.y + bar.height <= 136.01 and bar.height >= 0 for bar in chart.bars)


def test_spend_shows_the_ceiling(page: Open) -> None:
    text = page().get("/spend").text
    assert "$5" in text
    assert "Nothing was spent yet" in text


def test_spend_shows_what_the_options_cost(page: Open, small: SmallSite) -> None:
    assert "would cost" not in page().get("/spend").text
    names = ("workload", "provider", "model", "lane", "usd", "usd_low", "usd_high", "hours", "is_offered", "accounts")
    rows = [
        ("posts that a run sends", "together", HOSTILE, "batch", 12.5, 11.0, 14.0, 24.0, True, 3),
        ("posts that a run sends", "gone", "m", "live", 0.01, 0.01, 0.01, 1.0, False, 3),
        ("every text", "together", "m", "live", 99.0, 99.0, 99.0, 1.0, True, 3),
    ]
    given = pl.DataFrame(rows, schema=names, orient="row").with_columns(tokens_known_by=pl.lit("counted"))
    small.lake.sync(ESTIMATES, pl.concat([ESTIMATES.empty(), given], how="diagonal"))
    text = page().get("/spend").text
    assert "Sent: posts that a run sends. 3 accounts, tokens counted." in text
    assert "12.50" in text
    assert "99.00" not in text
    assert "gone" not in text
    assert HOSTILE not in text
    small.lake.sync(ESTIMATES, ESTIMATES.empty())


def test_methods_and_models_are_compared_with_reasons_for_what_is_not_known(page: Open, small: SmallSite) -> None:
    assert "Quality, cost and speed" not in page().get("/spend").text + page().get("/verticals").text
    row = dict.fromkeys(("model", "provider", "lane", "quality_measure", "quality_note", "cost_note"), HOSTILE)
    made = [
        {**row, "task": "tag posts", "method": "probe", "quality": 0.5, "quality_low": 0.4, "quality_high": 0.6,
         "usd_per_million_posts": 0.0, "posts_per_second": 75.25, "speed_note": "timed",
         "machine_usd_per_million_posts": 0.3},
        {**row, "task": "summarise accounts", "method": "language model", "usd_per_million_posts": 12.5,
         "speed_note": "never timed"},
    ]  # fmt: skip
    given = pl.DataFrame(made, schema_overrides={"posts_per_second": pl.Float64})
    small.lake.sync(MODEL_COMPARISON, pl.concat([MODEL_COMPARISON.empty(), given], how="diagonal"))
    tags, summaries = page().get("/verticals").text, page().get("/spend").text
    for part in (
        "Quality, cost and speed of tagging",
        "0.50 (0.40 to 0.60)",
        "75.2",
        "timed",
        "probe, tag posts: 0.50",
    ):
        assert part in tags
    for part in ("Quality, cost and speed of summaries", "not measured", "12.50", "not timed", "never timed"):
        assert part in summaries
    assert "language model" not in tags
    assert "probe" not in summaries
    assert HOSTILE not in tags + summaries
    small.lake.sync(MODEL_COMPARISON, MODEL_COMPARISON.empty())


def test_verticals_are_drawn_against_their_bars_with_calibration_and_learning_curve(
    page: Open, small: SmallSite
) -> None:
    rows = [
        {"method": "probe", "item_kind": "post", "item_id": str(n), "vertical": VERTICAL, "is_member": n > 2,
         "probability": n / 5} for n in range(5)
    ]  # fmt: skip
    small.lake.sync(HELD_OUT, pl.concat([HELD_OUT.empty(), pl.DataFrame(rows)], how="diagonal"))
    curve = pl.DataFrame([(100, 0.3, 0.2, 0.4, True)], schema=LEARNING_CURVE.schema.names, orient="row")
    small.lake.sync(LEARNING_CURVE, curve)
    text = page().get("/verticals").text
    for part in ("Precision of posts, with its 95 % interval", "the bar is 0.70", "Calibration of probe on posts",
                 "said 0.80, true 1.00, of 1", "100 labels: 0.300, measured", "Recall of accounts"):  # fmt: skip
        assert part in text
    assert text.count("<svg") == 6
    small.lake.sync(HELD_OUT, HELD_OUT.empty())
    small.lake.sync(LEARNING_CURVE, LEARNING_CURVE.empty())


def test_health_and_metrics_are_for_machines(page: Open, instance: DagsterInstance) -> None:
    client = page(dagster=instance)
    assert client.get("/healthz").text == "ok\n"
    client.get("/spend")
    lines = client.get("/metrics").text.splitlines()
    assert 'cippus_page_requests_total{view="spend",status="200"} 1' in lines
    assert "cippus_creators 16" in lines
    assert "cippus_spend_ceiling_usd 5" in lines
    assert "cippus_checks_evaluated 0" in lines
    assert all(re.fullmatch(r"# TYPE \w+ \w+|\w+(\{[^}]*\})? -?[\d.]+", line) for line in lines)
