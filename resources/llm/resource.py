"""The Dagster resource of the language model."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from dagster import ConfigurableResource
from pydantic import Field

from resources.errors import InputError
from resources.llm.answers import Answers
from resources.llm.lane import OFF, Lane
from resources.llm.rate_limit import RateLimit
from resources.spend.resource import SpendResource

if TYPE_CHECKING:  # importing the endpoints' client takes a second, which only those who have one should pay
    from resources.llm.client import Llm
    from resources.llm.completions import Prices


class NoLlmError(InputError):
    """No endpoint is set."""


class LlmResource(ConfigurableResource["LlmResource"]):
    """One model at an OpenAI-compatible endpoint, paid through the ledger unless you run it yourself."""

    spend: SpendResource
    url: str = Field(default="", description="Base address of the endpoint; blank means there is none.")
    model: str = Field(default="", description="The model's name there.")
    api_key: str = Field(default="", repr=False, description="Sent as a bearer token, if set.")
    provider: str = Field(default="", description="Provider whose prices apply; blank means by the host.")
    requests: int = Field(default=8, ge=1, description="Concurrent requests.")
    requests_per_minute: int = Field(default=0, ge=0, description="0 means no limit.")
    tokens_per_minute: int = Field(default=0, ge=0, description="0 means no limit.")
    stored: str = Field(default="off", description="`on` if the endpoint keeps completions.")

    summaries: str = Field(default=OFF, description="How accounts are summarised: `off`, `live` or `batch`.")
    summary_language: str = Field(default="", description="ISO 639-1 code; blank means the language of the posts.")
    summary_tokens: int = Field(default=3_000, ge=1, description="Most tokens of posts that are sent for an account.")

    def prices(self) -> "Prices":
        """Return where the model's price comes from. Raises UnknownPriceError."""
        from resources.llm.completions import Prices

        book = self.spend.price_book()
        return Prices(book, self.provider or book.provider_of(self.url), self.model)

    @contextmanager
    def lane(self, run: str, asset: str, scope: str) -> Iterator[Lane]:
        """Yield the lane that an asset's requests take. Raises the errors of ``open``.

        ``scope`` names a part of the asset that only one run at a time works on, such as a bucket.
        """
        with self.open(run, asset) as opened:
            yield opened

    def open(self, run: str, asset: str) -> "Llm":
        """Return the model for a run of an asset, a context manager.

        Raises NoLlmError without an endpoint, UnknownPriceError for a model without a price, and NoCeilingError.
        """
        from resources.llm.client import Llm
        from resources.llm.completions import Completions
        from resources.llm.endpoint import Endpoint

        if not self.url:
            raise NoLlmError("CIPPUS_LLM_URL is not set; set it and CIPPUS_LLM_MODEL to ask a language model.")
        endpoint = Endpoint(self.url, self.model, self.api_key, kind="LLM")
        prices = self.prices()
        spender = None if prices.is_free else self.spend.spender(run, asset, self.model)
        return Llm(
            Completions(endpoint, prices, self.requests, finds_stored=self.stored == "on"),
            spender,
            Answers(self.spend.store, asset),
            requests=self.requests,
            rate_limit=_rate_limit(self.url, self.model, self.requests_per_minute, self.tokens_per_minute),
        )


# Dagster copies a resource for every step; the limit is the process'.
@lru_cache(maxsize=8)
def _rate_limit(_url: str, _model: str, requests_per_minute: int, tokens_per_minute: int) -> RateLimit:
    return RateLimit(requests_per_minute, tokens_per_minute)
