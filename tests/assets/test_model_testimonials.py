"""Testimonials by a language model: which brands are sent and when, and which claims are kept."""

import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from assets.lake import LAKE_TESTIMONIALS
from assets.summaries.brand_asking import FEW_TEXTS, NO_CLAIM
from assets.summaries.model_testimonials import without_gone
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.summaries.testimonials import brand_summary
from resources.delta.table import LakeResource
from tests.fakes.spend_store import START
from tests.worlds.brand_testimonials import ACME, ZETA, BrandWorld
from tests.worlds.spend import MODEL
from tests.worlds.summaries import ORDERS

GOOD, BAD = "The parcel came within a day.", "Nobody answered my letters for weeks."
TOLD: tuple[dict[str, Any], ...] = (
    {"text": GOOD, "rating": 5, "account_id": "anna", "campaign": "spring"},
    {"text": BAD, "rating": 1, "account_id": "bela"},
    {"text": "Their shop in town is large and bright.", "rating": 4},
)
OTHER = tuple(
    {**row, "testimonial_id": f"z{n}", "brand": ZETA, "created_at": START - timedelta(days=n),
     "text": f"I say it again: {row['text']}"}
    for n, row in enumerate(TOLD)
)  # fmt: skip


@pytest.fixture
def world(lake: LakeResource) -> BrandWorld:
    return BrandWorld(lake)


def saying(*claims: Mapping[str, Any]) -> Any:
    return lambda _body: json.dumps({"claims": claims})


def test_a_brand_is_sent_once_and_a_change_sends_its_groups_alone(world: BrandWorld) -> None:
    world.tell(*TOLD, *OTHER)
    world.summarise()
    assert world.provider.requests == 2
    row = world.said()[ACME, None]
    polarity = dict(zip(row["claims"], row["polarities"], strict=True))
    assert polarity == {GOOD: "positive", BAD: "negative", TOLD[2]["text"]: "positive"}
    assert world.said()[ACME, "spring"]["reason"] == FEW_TEXTS
    assert sum(Decimal(row["usd"] or 0) for row in world.said().values()) == world.provider.usd > 0
    assert not [key for key in world.store.objects if key.startswith("llm/answers/")]
    assert (world.summarise().buckets_skipped, world.provider.requests) == (1, 2)
    before = world.said()
    world.tell(TOLD[0], TOLD[1] | {"text": "Nobody answered my calls for months."}, TOLD[2], *OTHER)
    world.summarise()
    assert (world.provider.requests, world.provider.paid_twice()) == (3, [])
    assert "Nobody answered my calls for months." in world.said()[ACME, None]["claims"]
    assert world.said()[ZETA, None] == before[ZETA, None]
    world.tell(*OTHER)
    world.summarise()
    assert (world.provider.requests, {brand for brand, _ in world.said()}) == (3, {ZETA})


def test_an_unchanged_group_is_neither_quoted_nor_sent_again(world: BrandWorld) -> None:
    world.tell(*TOLD, *OTHER)
    assert world.quote().counts["groups_quoted"] == 4
    assert world.quote().buckets_skipped == 1
    before = world.extract()
    world.tell(*TOLD[:2], TOLD[2] | {"rating": 3}, *OTHER)
    assert world.quote().counts["groups_quoted"] == 1  # the brand; not its campaign, and not the other brand
    changed = {group for group, row in world.extract().items() if row != before[group]}
    assert changed == {(ACME, None)}


def test_prompt_model_language_and_budget_are_part_of_what_was_sent(world: BrandWorld) -> None:
    world.tell(*TOLD)
    world.summarise()
    world.summarise(summary_language="de")
    assert "in German" in world.provider.bodies[-1]["messages"][0]["content"]
    body = world.provider.bodies[-1]["messages"][1]["content"]
    assert [item["rating"] for item in json.loads(body)["testimonials"]] == [1, 5, 4]  # each polarity in turn
    assert not any(word in body for word in ("anna", "t0", ACME))
    world.summarise(summary_tokens=30)
    assert (world.provider.requests, world.said()[ACME, None]["reason"]) == (2, FEW_TEXTS)


@pytest.mark.parametrize(
    "claim",
    [
        {"text": GOOD, "post_ids": ["99", "t0"]},
        {"text": f"{GOOD[:-1]} in 1999.", "post_ids": ["1", "2", "3"]},
        {"text": "The parcel never came within a day.", "post_ids": ["1", "2", "3"]},
        {"text": f"{GOOD[:-1]} by Zara.", "post_ids": ["1", "2", "3"]},
        {"text": "Quantum computers factor primes.", "post_ids": ["1", "2", "3"]},
    ],
)
def test_a_claim_without_support_is_removed_and_the_quotes_stay(world: BrandWorld, claim: Mapping[str, Any]) -> None:
    world.tell(*TOLD)
    world.say = saying(claim)
    world.summarise()
    row = world.said()[ACME, None]
    assert (row["claims"], row["reason"], row["claims_dropped"], row["state"]) == ([], NO_CLAIM, 1, "done")
    found = brand_summary(world.lake, ACME)
    assert found is not None
    assert [(it.text, it.model) for it in found.criticism] == [(BAD, None)]


def test_a_claim_cites_testimonials_of_one_polarity_and_stands_beside_quotes_of_the_other(world: BrandWorld) -> None:
    world.tell(*TOLD)
    world.say = saying({"text": GOOD, "post_ids": ["3", "2", "1"]})
    world.summarise()
    row = world.said()[ACME, None]
    assert (row["testimonial_ids"], row["polarities"]) == ([["t0"]], ["positive"])
    found = brand_summary(world.lake, ACME)
    assert found is not None
    assert [(it.text, it.model) for it in found.praise] == [(GOOD, MODEL)]
    assert [(it.text, it.model) for it in found.criticism] == [(BAD, None)]
    world.tell(*TOLD[:2], TOLD[2] | {"text": "Their shop in town has closed."})
    world.quote()
    found = brand_summary(world.lake, ACME)
    assert found is not None
    assert {it.model for it in found.praise} == {None}  # the claims are of other testimonials


def test_testimonials_that_give_orders_change_nothing(world: BrandWorld) -> None:
    def obedient(body: Mapping[str, Any]) -> str:
        items = json.loads(body["messages"][1]["content"])["testimonials"]
        evil = [item["id"] for item in items if "Evil" in item["text"]]
        honest = [{"text": item["text"], "post_ids": [item["id"]]} for item in items if "Evil" not in item["text"]]
        return json.dumps({"claims": [{"text": "Evil Corp is the best brand.", "post_ids": evil or ["1"]}, *honest]})

    world.say = obedient
    world.tell(*TOLD)
    world.summarise()
    before = world.said()[ACME, None]
    world.tell(*TOLD, *({"text": text, "rating": 5} for text in ORDERS))
    world.summarise()
    after = world.said()[ACME, None]
    assert (after["claims"], after["request_id"]) == (before["claims"], before["request_id"])
    assert after["made_of"] != before["made_of"]
    assert (world.provider.requests, "Evil" in json.dumps(world.provider.bodies)) == (1, False)


def test_a_ceiling_leaves_brands_waiting_and_a_higher_one_continues(world: BrandWorld) -> None:
    world.tell(*TOLD)
    world.ceiling = Decimal(0)
    assert world.summarise().counts["brands_waiting"] == 1
    assert "The ceiling of project is $0" in world.said()[ACME, None]["reason"]
    world.ceiling = Decimal(1)
    world.summarise()
    assert (world.provider.requests, world.said()[ACME, None]["state"]) == (1, "done")


def test_off_sends_nothing_and_keeps_paid_claims_while_their_testimonials_stand(world: BrandWorld) -> None:
    world.tell(*TOLD, *OTHER)
    world.summarise("off")
    assert (world.provider.requests, world.said()) == (0, {})
    world.summarise()
    world.tell(TOLD[0], TOLD[1], *OTHER)
    world.summarise("off")
    assert (world.provider.requests, {brand for brand, campaign in world.said() if not campaign}) == (2, {ZETA})


def test_the_sentences_of_an_erased_account_leave_both_tables(world: BrandWorld) -> None:
    canary = {"text": "We call it canary and praise its yellow song.", "rating": 2, "account_id": "erased"}
    world.tell(*TOLD, canary)
    world.summarise()
    assert "canary" in str(world.extract())
    assert "canary" in str(world.said())
    for mode, ceiling in (("live", 0), ("off", 0)):
        world.tell(*TOLD, canary)
        world.ceiling = Decimal(1)
        world.summarise()
        world.lake.delete_where(LAKE_TESTIMONIALS, "account_id = 'erased'")  # as an erasure does
        world.ceiling = Decimal(ceiling)
        world.summarise(mode)
        assert "canary" not in str(world.extract()) + str(world.said())
        assert "t3" not in str(world.extract()) + str(world.said())


def test_a_row_in_a_batch_forgets_the_ids_of_the_erased(world: BrandWorld) -> None:
    world.tell(*TOLD)
    world.ceiling = Decimal(0)
    world.summarise("batch")
    assert world.modes == ["batch"]
    [waiting] = [row for row in world.lake.scan(MODEL_TESTIMONIALS, 0).collect().iter_rows(named=True) if row["sample"]]
    world.lake.delete_where(LAKE_TESTIMONIALS, "testimonial_id = 't0'")
    rows = without_gone(world.lake, world.lake.scan(MODEL_TESTIMONIALS, 0).filter(state="waiting").collect())
    assert (waiting["sample"], rows["sample"].to_list()) == (["t1", "t0", "t2"], [["t1", None, "t2"]])
