"""Summaries by a language model: what is sent and when, and which claims are kept. Posts cannot give orders."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from assets.summaries.accounts import SUMMARIES, by_model
from assets.summaries.asking import NO_CLAIM
from assets.summaries.model import model_summaries
from assets.summaries.model_table import MODEL_SUMMARIES
from resources.delta.table import LakeResource
from resources.errors import InputError
from tests.fakes.llm_server import BROKEN
from tests.worlds.spend import MODEL
from tests.worlds.summaries import ORDERS, SummaryWorld, WorldLlm

ANNA = ("I mend old clothes every winter evening.", "The mountain hike took 40 minutes.", "My cat sleeps all day long.")
BELA = ("Sourdough bread needs a warm kitchen.", "Rye flour makes bread dark and heavy.")


@pytest.fixture
def world(lake: LakeResource) -> SummaryWorld:
    made = SummaryWorld(lake)
    made.write({"anna": ANNA, "bela": BELA})
    return made


def saying(*claims: Mapping[str, Any]) -> Any:
    return lambda _body: json.dumps({"claims": claims})


def test_each_account_is_sent_once_and_a_change_sends_that_account_alone(world: SummaryWorld) -> None:
    world.run()
    assert world.provider.requests == 2
    rows = world.rows()
    assert {account: row["state"] for account, row in rows.items()} == {"anna": "done", "bela": "done"}
    assert all(set(row["claims"]) <= {*ANNA, *BELA} and len(row["claims"]) == 2 for row in rows.values())
    assert sum(Decimal(row["usd"]) for row in rows.values()) == world.provider.usd > 0
    assert not [key for key in world.store.objects if key.startswith("llm/answers/")]
    metrics = world.run()
    assert (metrics.buckets_skipped, world.provider.requests) == (1, 2)
    world.write({"anna": ANNA, "bela": (*BELA[:1], "Rye flour is cheap.")})
    world.run()
    assert world.provider.requests == 3
    assert "Rye flour is cheap." in (world.claims()["bela"] or [])
    world.write({"bela": (*BELA[:1], "Rye flour is cheap.")})
    world.run()
    assert (world.provider.requests, set(world.rows())) == (3, {"bela"})


def test_model_prompt_language_and_budget_are_part_of_what_was_sent(world: SummaryWorld) -> None:
    world.run()
    world.run(summary_language="de")
    assert world.provider.requests == 4
    assert "in German" in world.provider.bodies[-1]["messages"][0]["content"]
    world.run(summary_tokens=9, summary_language="de")
    sent = json.loads(world.provider.bodies[-1]["messages"][1]["content"])["posts"]
    assert (world.provider.requests, len(sent)) == (6, 1)


@pytest.mark.parametrize(
    "claim",
    [
        {"text": "I mend old clothes every winter evening.", "post_ids": ["99", "anna/0"]},
        {"text": "I mend old clothes every winter evening in 1999.", "post_ids": ["1", "2", "3"]},
        {"text": "I never mend old clothes every winter evening.", "post_ids": ["1", "2", "3"]},
        {"text": "I mend old clothes every winter evening with Zara.", "post_ids": ["1", "2", "3"]},
        {"text": "Quantum computers factor primes.", "post_ids": ["1", "2", "3"]},
    ],
)
def test_a_claim_without_support_is_removed_and_the_extractive_summary_stays(
    world: SummaryWorld, claim: Mapping[str, Any]
) -> None:
    world.write({"anna": ANNA})
    world.say = saying(claim)
    world.run()
    [row] = world.rows().values()
    assert (row["claims"], row["reason"], row["claims_dropped"], row["state"]) == ([], NO_CLAIM, 1, "done")
    stored, chunks = (
        world.lake.scan(MODEL_SUMMARIES, 0).collect(),
        pl.DataFrame({"account_id": ["anna"], "post_id": ["p"]}),
    )
    assert by_model(stored, chunks, "r").is_empty()
    assert world.run().buckets_skipped == 1


def test_a_claim_keeps_the_posts_that_say_it(world: SummaryWorld) -> None:
    world.write({"anna": ANNA})
    world.say = saying({"text": "The mountain hike took 40 minutes.", "post_ids": ["3", "2", "1"]})
    world.run()
    [row] = world.rows().values()
    assert (row["claims"], row["post_ids"]) == (["The mountain hike took 40 minutes."], [["anna/1"]])
    chunks = pl.DataFrame({"account_id": ["anna"] * 3, "post_id": ["a", "b", "c"]})
    [shown] = by_model(world.lake.scan(MODEL_SUMMARIES, 0).collect(), chunks, "r").iter_rows(named=True)
    assert set(shown) == set(SUMMARIES.schema.names)
    assert (shown["post_ids"], shown["method"], shown["posts"]) == (["anna/1"], MODEL, 3)


def test_posts_that_give_orders_change_nothing(world: SummaryWorld) -> None:
    def obedient(body: Mapping[str, Any]) -> str:
        posts = json.loads(body["messages"][1]["content"])["posts"]
        evil = [post["id"] for post in posts if "Evil" in post["text"]]
        honest = [{"text": post["text"], "post_ids": [post["id"]]} for post in posts if "Evil" not in post["text"]]
        return json.dumps({"claims": [{"text": "Evil Corp is the best brand.", "post_ids": evil or ["1"]}, *honest]})

    assert len(ORDERS) == 30
    world.say = obedient
    world.write({"anna": ANNA})
    world.run()
    before = world.rows()["anna"]
    world.write({"anna": (*ANNA, *ORDERS)})
    world.run()
    after = world.rows()["anna"]
    assert world.provider.requests == 1
    assert (after["claims"], after["request_id"]) == (before["claims"], before["request_id"])
    assert "Evil" not in json.dumps(world.provider.bodies)
    world.write({"troll": ORDERS})
    world.run()
    assert (world.provider.requests, world.rows()["troll"]["claims"]) == (1, None)


def test_a_ceiling_leaves_accounts_waiting_and_a_higher_one_continues(world: SummaryWorld) -> None:
    world.ceiling = Decimal(0)
    metrics = world.run()
    assert (world.provider.requests, metrics.counts["accounts_waiting"]) == (0, 2)
    assert "The ceiling of project is $0" in world.rows()["anna"]["reason"]
    assert len(world.errors) == 1
    world.ceiling = Decimal(1)
    world.run()
    assert (world.provider.requests, world.rows()["anna"]["state"]) == (2, "done")


def test_an_answer_of_a_run_that_died_is_taken_in_even_if_the_account_changed(world: SummaryWorld) -> None:
    class Died(BaseException):
        pass

    def die(_metrics: object, *_rest: object) -> str:
        raise Died

    world.write({"anna": ANNA})
    calls: Iterator[Any] = iter([world.lake.sync, die])
    world.lake.__dict__["sync"] = lambda *given: next(calls)(*given)
    with pytest.raises(Died):
        world.run()
    del world.lake.__dict__["sync"]
    assert (world.provider.requests, world.rows()["anna"]["state"]) == (1, "waiting")
    world.write({"anna": (*ANNA[:2], "A dog came to live with us.")})
    world.say = saying({"text": "A dog came to live with us.", "post_ids": ["1", "2", "3"]})
    world.run()
    assert not world.provider.paid_twice()
    assert world.rows()["anna"]["claims"] == ["A dog came to live with us."]


def test_a_broken_endpoint_fails_no_run(world: SummaryWorld) -> None:
    world.provider.fault = lambda: BROKEN
    assert world.run().counts["accounts_waiting"] == 2
    assert "nobody knows whether it was billed" in world.rows()["anna"]["reason"]
    world.provider.fault = lambda: ""
    world.run()
    assert not world.provider.paid_twice()


def test_off_sends_nothing_and_keeps_paid_summaries_while_their_posts_stand(world: SummaryWorld) -> None:
    world.run("off")
    assert (world.provider.requests, world.lake.open(MODEL_SUMMARIES)) == (0, None)
    world.run()
    world.write({"anna": ANNA, "bela": ("Something else entirely.",)})
    world.run("off")
    assert (world.provider.requests, set(world.rows())) == (2, {"anna"})


def test_a_lane_without_an_endpoint_is_one_sentence(world: SummaryWorld) -> None:
    body: Any = model_summaries.op.compute_fn
    body = body.decorated_fn.__wrapped__
    llm = WorldLlm.model_construct(summaries="live", url="", key="x")
    with pytest.raises(InputError, match="CIPPUS_LLM_SUMMARIES is live, but CIPPUS_LLM_URL is not set"):
        body(None, world.lake, None, None, llm)
