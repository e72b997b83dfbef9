"""The comparison of methods and models: each figure follows from its sources, and a missing one has a reason."""

import polars as pl
import pytest
from dagster import AssetMaterialization, DagsterInstance

from assets.marts.comparison import MODEL_COMPARISON, paces
from assets.transforms.marts.comparison import (
    ASSUMED,
    BY_MODEL,
    NEVER_ASKED,
    NOT_EVALUATED,
    NOT_IN_LEDGER,
    Host,
    Pace,
    answered,
    evaluated,
    extractive,
    in_turn,
    offered,
    tagging,
)
from assets.transforms.summaries.evaluation import Evaluation

HOST = Host("e5", usd_per_hour=0.09, posts=2_000)
METHOD = {"method": "probe", "item_kind": "post", "verticals": 3, "items": 70, "accounts": 9,
          "macro_f1": 0.5, "macro_f1_low": 0.4, "macro_f1_high": 0.6}  # fmt: skip
OPTION = {"workload": "what is sent", "provider": "p", "model": "70b", "lane": "batch", "size": "70B", "mmlu": 86.0,
          "usd": 3.0, "usd_low": 2.0, "usd_high": 4.0, "hours": 2.0, "is_offered": True, "input_tokens": 10.0,
          "tokens_known_by": "counted", "price_source": "page"}  # fmt: skip


def test_a_local_method_is_free_and_its_machine_is_priced_by_the_hour() -> None:
    rows = tagging(pl.DataFrame([METHOD]), ["zero_shot", "probe"], HOST, Pace(100.0, "timed"))
    assert [(row["task"], row["method"], row.get("quality")) for row in rows] == [
        ("tag posts", "zero_shot", None),
        ("tag posts", "probe", 0.5),
        ("tag accounts", "zero_shot", None),
        ("tag accounts", "probe", None),
    ]
    assert rows[0]["quality_note"] == "No post has a label that the method can be measured on."
    assert (rows[1]["quality_low"], rows[1]["measured_items"], rows[1]["usd_per_million_posts"]) == (0.4, 70, 0.0)
    assert rows[1]["hours_per_million_posts"] == pytest.approx(1e6 / 100 / 3600)
    assert rows[1]["machine_usd_per_million_posts"] == pytest.approx(0.09 * 1e6 / 100 / 3600)


def test_an_endpoint_that_embeds_has_no_known_price() -> None:
    row = extractive(Host("theirs", 0.09, 2_000, is_local=False), Pace(None, "not timed"))
    assert (row["usd_per_million_posts"], row["cost_note"]) == (None, NOT_IN_LEDGER)
    assert (row["machine_usd_per_million_posts"], row["posts_per_second"], row["speed_note"]) == (
        None,
        None,
        "not timed",
    )


def test_stages_in_turn_are_slower_than_each_and_unknown_without_one() -> None:
    assert in_turn([Pace(100.0, "a"), Pace(300.0, "b")]) == Pace(75.0, "a b")
    assert in_turn([Pace(100.0, "a"), Pace(None, "why")]) == Pace(None, "why")


def test_answers_have_the_share_of_claims_that_hold_and_what_was_charged() -> None:
    answers = pl.DataFrame({"account_id": ["a", "b", "c"], "model": "70b", "claims": [4, 5, 0],
                            "claims_of_answer": [5, 5, 0], "usd": [0.01, 0.02, 0.0],
                            "posts": [20, 30, 10]})  # fmt: skip
    [row] = answered(answers, Pace(None, "not timed"))
    assert row["quality"] == pytest.approx(0.9)
    assert 0.5 < row["quality_low"] < 0.9 < row["quality_high"] < 1
    assert (row["measured_items"], row["measured_accounts"], row["posts"]) == (10, 3, 60)
    assert row["usd_per_million_posts"] == pytest.approx(0.03 / 60 * 1e6)
    assert answered(answers.clear(), Pace(None, "")) == []


def test_offers_cost_what_a_run_sends_and_have_the_quality_of_their_answers() -> None:
    rented = {**OPTION, "lane": "self-hosted", "model": "8b", "price_source": "$1 an hour; speed measured with 8b"}
    guessed = {**rented, "model": "9b", "price_source": "$1 an hour; speed assumed"}
    more = {**OPTION, "workload": "everything", "usd": 99.0, "input_tokens": 1e9}
    gone = {**OPTION, "model": "old", "is_offered": False}
    answers = pl.DataFrame([{"account_id": "a", "model": "70b", "claims": 4, "claims_of_answer": 5, "usd": 1.0,
                             "posts": 5}])  # fmt: skip
    asked = answered(answers, Pace(None, "not timed"))
    rows = offered(pl.DataFrame([more, OPTION, rented, guessed, gone]), 2_000, asked, "measured with")
    assert [(row["model"], row["usd_per_million_posts"]) for row in rows] == [("70b", 1500), ("8b", 1500), ("9b", 1500)]
    assert [row.get("quality") for row in rows] == [0.8, None, None]
    assert rows[1]["quality_note"] == NEVER_ASKED
    assert [row["posts_per_second"] for row in rows] == [None, pytest.approx(2_000 / 7_200), None]
    assert rows[2]["speed_note"] == ASSUMED
    every = [*rows, *asked, *tagging(pl.DataFrame([METHOD]), ["probe"], HOST, Pace(9.0, "timed"))]
    assert {name for row in every for name in row} | {"as_of"} == set(MODEL_COMPARISON.schema.names)
    assert all(row[note] for row in every for note in ("quality_note", "cost_note", "speed_note"))


def test_a_run_counts_from_500_posts_on_whatever_its_items_are() -> None:
    with DagsterInstance.ephemeral() as instance:
        for key, counted, count in (
            ("embedding/cippus_text", "embedded", 1_200),
            ("vertical/scores", "posts_scored", 499),
            ("summary/account_summaries", "accounts_summarised", 25),
        ):
            metadata = {counted: count, "seconds": 10.0}
            instance.report_runless_asset_event(AssetMaterialization(key.split("/"), metadata=metadata))
        found = paces(instance, posts_a_chunk=0.5, posts_an_account=20.0)
    assert found["tags"] == Pace(None, "No run of vertical/scores with 500 posts is on record.")
    assert found["summaries"].posts_per_second == pytest.approx(1 / (1 / 60 + 1 / 50))
    assert found["answers"] == Pace(None, "No run of summary/model_summaries with 25 accounts is on record.")


def test_summaries_of_reviews_have_what_was_measured_or_the_reason() -> None:
    local, other, paid = (
        Evaluation("extractive", "e5", 0.33, 0.31, 0.35, 30, 90, 240, "2026-01-02"),
        Evaluation("extractive", "other", 0.9, None, None, 1, 1, 8, "2026-01-02"),
        Evaluation(BY_MODEL, "70b", 0.36, 0.34, 0.38, 30, 90, 240, "2026-01-02", usd=0.12),
    )
    assert [row.get("quality") for row in evaluated([], HOST, Pace(9.0, "timed"))] == [None]
    [row] = evaluated([other], HOST, Pace(9.0, "timed"))
    assert (row.get("quality"), row["quality_note"]) == (None, NOT_EVALUATED)
    mine, theirs = evaluated([local, other, paid], HOST, Pace(9.0, "timed"))
    assert (mine["quality"], mine["quality_low"], mine["measured_items"]) == (0.33, 0.31, 90)
    assert (theirs["model"], theirs["quality"]) == ("70b", 0.36)
    assert theirs["usd_per_million_posts"] == pytest.approx(0.12 / 240 * 1e6)
    assert all(it[note] for it in (mine, theirs) for note in ("quality_note", "cost_note", "speed_note"))
    assert set(mine) | set(theirs) <= set(MODEL_COMPARISON.schema.names)
