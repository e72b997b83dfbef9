"""A language model whose provider is in this process, with a ledger and a store in memory."""

from decimal import Decimal

from resources.llm.answers import Answers
from resources.llm.client import Llm
from resources.llm.completions import Completions, Prices
from resources.llm.endpoint import Endpoint
from resources.llm.resource import LlmResource
from resources.s3.client import S3Resource
from resources.spend.ledger import Ledger
from resources.spend.resource import SpendResource
from resources.spend.spender import Spender
from tests.fakes.llm_server import Provider, transport
from tests.fakes.spend_store import MemoryStore
from tests.worlds.spend import AT_ONCE, BOOK, MODEL, PROVIDER, price_at

ADDRESS = "http://provider.test/v1"
WORLDS: dict[str, tuple[MemoryStore, Provider]] = {}
"""Address → the ledger's store and the provider. A Dagster resource holds no other objects."""


class ProviderLlm(LlmResource):
    """The model of a provider inside this process."""

    def open(self, run: str, asset: str) -> Llm:
        return opened(*WORLDS[self.url], Decimal(self.tokens_per_minute), run, asset)


def opened(store: MemoryStore, provider: Provider, ceiling: Decimal, run: str, asset: str) -> Llm:
    """Return the model of a provider, paid through the ledger on a store."""
    endpoint = Endpoint(ADDRESS, MODEL, "", kind="LLM", transport=transport(provider))
    spender = Spender(Ledger(store, {"project": ceiling}), run, asset, MODEL, 0)
    completions = Completions(endpoint, Prices(BOOK, PROVIDER, MODEL), 2)
    return Llm(completions, spender, Answers(store, asset), requests=1, retry=AT_ONCE)


def provider_at(address: str) -> Provider:
    """Return a new provider at an address."""
    store = MemoryStore()
    WORLDS[address] = store, Provider(price_at, lambda: store.now)
    return WORLDS[address][1]


def llm_of(address: str, ceiling: int = 1) -> ProviderLlm:
    """Return the model of the provider at an address; its ceiling in USD is handed over as another number."""
    spend = SpendResource(s3=S3Resource(bucket="none"))
    return ProviderLlm(spend=spend, url=address, model=MODEL, tokens_per_minute=ceiling)
