"""The Dagster resource of the language model."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import ConfigurableResource
from pydantic import Field

from resources.errors import InputError
from resources.llm.answers import Answers
from resources.llm.lane import BATCH, LIVE, OFF, Lane
from resources.llm.rate_limit import RateLimit
from resources.spend.prices import Lane as SpendLane
from resources.spend.resource import SpendResource

if TYPE_CHECKING:  # importing the endpoints' client takes a second, which only those who have one should pay
    from resources.llm.batches.book import Book
    from resources.llm.batches.jobs import Jobs
    from resources.llm.batches.provider import BatchProvider
    from resources.llm.client import Llm
    from resources.llm.completions import Prices
    from resources.llm.endpoint import Endpoint


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

    tagging: str = Field(default=OFF, description="Posts that are tagged: `off`, `uncertain` or `uncertain-batch`.")
    summaries: str = Field(default=OFF, description="How accounts are summarised: `off`, `live` or `batch`.")
    testimonials: str = Field(default=OFF, description="How brands' testimonials are: `off`, `live` or `batch`.")
    batch_command: str = Field(default="", description="Command that answers a file, such as `vllm run-batch`.")
    batch_folder: str = Field(default="", description="Folder of that command's files.")
    batch_role: str = Field(default="", description="ARN of the role under which Bedrock reads and writes the bucket.")
    summary_language: str = Field(default="", description="ISO 639-1 code; blank means the language of the posts.")
    summary_tokens: int = Field(default=3_000, ge=1, description="Most tokens of posts that are sent for an account.")

    @property
    def tagging_lane(self) -> str:
        """The lane of posts that are tagged."""
        return {"uncertain": LIVE, "uncertain-batch": BATCH}.get(self.tagging, OFF)

    @property
    def sends_batches(self) -> bool:
        """Whether an asset sends batches."""
        return BATCH in (self.summaries, self.testimonials, self.tagging_lane)

    def prices(self) -> "Prices":
        """Return where the model's price comes from. Raises UnknownPriceError."""
        from resources.llm.completions import Prices

        book = self.spend.price_book()
        return Prices(book, self.provider or book.provider_of(self.url), self.model)

    @contextmanager
    def lane(self, run: str, asset: str, scope: str, mode: str = "") -> Iterator[Lane]:
        """Yield the lane that an asset's requests take: ``mode``, or that of summaries. Raises the errors of ``open``.

        ``scope`` names a part of the asset, such as a bucket. A request that is still in a batch is awaited, also by
        single calls.
        """
        from resources.llm.batches.book import Book, is_empty
        from resources.llm.batches.lane import BatchLane, SingleCalls

        book, mode = Book(self.spend.store, asset, scope), mode or self.summaries
        if mode == LIVE and is_empty(self.spend.store, book):
            with self.open(run, asset) as opened:
                yield opened
            return
        with BatchLane(self.jobs(book, run, asset), Answers(self.spend.store, asset), self.model) as batches:
            if mode == BATCH:
                yield batches
                return
            with self.open(run, asset) as opened:
                yield SingleCalls(opened, batches)

    def jobs(self, book: "Book", run: str, asset: str) -> "Jobs":
        """Return the batches of a book, to bring forward or to cancel. Raises the errors of ``open``."""
        from resources.llm.batches.jobs import Jobs

        prices = replace(self.prices(), lane=SpendLane.BATCH)
        spender = None if prices.is_free else self.spend.spender(run, asset, self.model)
        return Jobs(book, self.batch_provider(), prices, spender)

    def batch_provider(self) -> "BatchProvider":
        """Return the batch API: the endpoint's own, or the command of CIPPUS_LLM_BATCH_COMMAND."""
        from resources.llm.batches import bedrock
        from resources.llm.batches.openai_api import DIALECTS, OpenAiBatches
        from resources.llm.batches.run_batch import RunBatch

        if self.batch_command:
            return RunBatch(shlex.split(self.batch_command), self.model, Path(self.batch_folder))
        endpoint, provider = self._endpoint(), self.prices().provider
        if provider == bedrock.PROVIDER:
            client, store = bedrock.client(self.url), self.spend.store
            return bedrock.BedrockBatches(client, store, self.spend.s3.bucket, self.model, self.batch_role)
        return OpenAiBatches(endpoint, DIALECTS.get(provider))

    def _endpoint(self) -> "Endpoint":
        from resources.llm.endpoint import Endpoint

        if not self.url:
            raise NoLlmError("CIPPUS_LLM_URL is not set; set it and CIPPUS_LLM_MODEL to ask a language model.")
        return Endpoint(self.url, self.model, self.api_key, kind="LLM")

    def open(self, run: str, asset: str) -> "Llm":
        """Return the model for a run of an asset, a context manager.

        Raises NoLlmError without an endpoint, UnknownPriceError for a model without a price, and NoCeilingError.
        """
        from resources.llm.client import Llm
        from resources.llm.completions import Completions

        endpoint = self._endpoint()
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
