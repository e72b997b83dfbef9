"""Fixtures of tests of endpoints."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from resources.llm.answers import Answers
from resources.llm.client import Llm
from resources.llm.completions import Completions, Prices
from resources.llm.endpoint import Endpoint
from resources.models.embedder import MiniLmModel
from resources.models.tokenizer import WordPieceTokenizer
from resources.spend.ledger import Ledger
from resources.spend.prices import SELF_HOSTED
from resources.spend.spender import Spender
from tests.fakes.embedding_server import Server
from tests.fakes.llm_server import Provider, transport
from tests.fakes.spend_store import MemoryStore
from tests.worlds.llm import Open
from tests.worlds.spend import ASSET, AT_ONCE, BOOK, MODEL, PROVIDER, price_at


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of embeddings, on a port of its own."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, body, headers = state.take(self)
            if status == 0:  # the connection is cut in the middle of the answer
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + 100))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture(scope="session")
def tokenizer() -> WordPieceTokenizer:
    """A tokenizer; not to be changed."""
    return MiniLmModel.open_tokenizer()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def provider(store: MemoryStore) -> Provider:
    return Provider(price_at, lambda: store.now)


@pytest.fixture
def opened(store: MemoryStore, provider: Provider) -> Iterator[Open]:
    made: list[Llm] = []

    def open_llm(
        ceiling: str = "1", *, stored: bool = False, free: bool = False, requests: int = 2, prices: Prices | None = None
    ) -> Llm:
        endpoint = Endpoint("http://provider.test/v1", MODEL, "sk-secret", kind="LLM", transport=transport(provider))
        prices = prices or Prices(BOOK, SELF_HOSTED if free else PROVIDER, MODEL)
        ledger = Ledger(store, {"project": Decimal(ceiling)})
        spender = None if free else Spender(ledger, f"run{len(made)}", ASSET, MODEL, patience_seconds=0)
        completions = Completions(endpoint, prices, 2, finds_stored=stored)
        made.append(Llm(completions, spender, Answers(store, ASSET), requests=requests, retry=AT_ONCE))
        return made[-1]

    yield open_llm
    for llm in made:
        llm.close()
