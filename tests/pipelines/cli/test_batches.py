"""`cippus batches` and the sensor: what is open, what is cancelled, when a run is requested, and what is erased."""

import json
from decimal import Decimal
from typing import Any

import pytest
from dagster import SensorResult, SkipReason
from typer.testing import CliRunner

from pipelines.automation.sensors import batches as sensors
from pipelines.cli import batches
from pipelines.cli.main import app
from resources.errors import InputError
from resources.llm.batches import erasing
from resources.llm.batches.openai_api import OpenAiBatches
from resources.llm.endpoint import Endpoint
from resources.llm.resource import LlmResource
from resources.s3.client import S3Resource
from resources.spend.resource import SpendResource
from tests.worlds.batches import REQUESTS, BatchWorld
from tests.worlds.spend import MODEL


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> BatchWorld:
    made = BatchWorld()
    made.run(minutes=1)
    monkeypatch.setattr(batches, "_store", lambda: made.store)
    monkeypatch.setattr(batches, "_provider", lambda: provider(made))
    return made


def provider(world: BatchWorld) -> OpenAiBatches:
    return OpenAiBatches(Endpoint("http://provider.test/v1", MODEL, transport=world.account.transport()))


def ran(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["batches", *arguments])


def test_open_batches_are_listed_with_the_most_that_they_cost(world: BatchWorld) -> None:
    [row] = json.loads(ran("list", "--json").output)["batches"]
    assert (row["requests"], row["state"], row["batch"]) == (len(REQUESTS), "running", "batch-0")
    assert Decimal(row["most_usd"]) == world.charged
    assert "batch-0" in ran().output
    world.play()
    assert "No batch is open." in ran().output


def test_a_cancelled_batch_bills_what_it_did_and_the_rest_is_sent_again(world: BatchWorld) -> None:
    assert "1 batches are being cancelled" in ran("cancel", "all").output
    world.play()
    assert world.problems() == []
    assert len(world.answers) == len(REQUESTS)
    assert world.account.requests["POST /batches"] == 2
    assert isinstance(ran("cancel", "unknown").exception, InputError)


@pytest.mark.parametrize(
    ("variable", "lane"),
    [
        ("CIPPUS_LLM_SUMMARIES", "batch"),
        ("CIPPUS_LLM_TESTIMONIALS", "batch"),
        ("CIPPUS_LLM_TAGGING", "uncertain-batch"),
    ],
)
def test_an_interrupt_says_what_goes_on_costing(
    world: BatchWorld, variable: str, lane: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batches.say_what_goes_on()
    monkeypatch.setenv(variable, lane)
    batches.say_what_goes_on()
    assert capsys.readouterr().err.count("1 batches go on at the provider and cost at most $") == 1


@pytest.mark.parametrize("mode", [{"summaries": "batch"}, {"testimonials": "batch"}, {"tagging": "uncertain-batch"}])
def test_the_sensor_requests_a_run_when_a_batch_has_ended(
    world: BatchWorld, mode: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = SpendResource(s3=S3Resource(bucket="none"))
    llm = LlmResource(spend=spend, url="http://provider.test/v1", model=MODEL, **mode)
    monkeypatch.setattr(SpendResource, "store", world.store)
    monkeypatch.setattr(LlmResource, "batch_provider", lambda _self: provider(world))
    tick = sensors.ended_batches._raw_fn
    assert isinstance(tick(llm, spend), SkipReason)
    found = tick(llm, spend)
    assert isinstance(found, SensorResult)
    [request] = found.run_requests or []
    assert (request.partition_key, request.tags["cippus/writes"]) == ("0", "bucket 0")
    world.play()
    assert "No batch is open" in str(tick(llm, spend))


@pytest.mark.parametrize("runs_before", [1, 2, 3])
def test_an_erased_account_leaves_batches_here_and_at_the_provider(runs_before: int) -> None:
    world = BatchWorld()
    with world.lane() as lane:
        list(lane.ask(REQUESTS))
    for _ in range(runs_before - 1):
        with world.lane() as lane:
            list(lane.find(["x"]))
    [job] = list(world.lane()._looked().jobs.values()) if runs_before < 3 else [None]
    assert erasing.forget_account(world.store, "a3") >= 1
    assert not [key for key, body in world.store.objects.items() if key.startswith("llm/") and b'"a3"' in body]
    if job is not None:
        for _, _, left in list(erasing.with_erased(world.store)):
            erasing.erase_at_provider(world.lane()._jobs, left)
    while any(erasing.with_erased(world.store)):
        with world.lane() as lane:
            list(lane.find(["x"]))
    assert world.account.files == {}
    own = next(request.id(MODEL) for request in REQUESTS if request.account_ids == ["a3"])
    with world.lane() as lane:
        assert [found.id for found in lane.find([own])] == []
    assert world.charged == world.account.usd
