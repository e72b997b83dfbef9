"""The price of a call, by provider, model, lane and time. A price that nobody states is an error, never 0.

Sources, best first: your own rates (`CIPPUS_PRICES`), the overlay in resources/catalogues/, the package genai-prices.
"""

import datetime as dt
import importlib.metadata
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from resources.catalogues.prices import Gpu, PriceFile, Provider, Rate, Service, Speed, load_prices, read_prices
from resources.errors import InputError

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

MILLION = 1_000_000
SELF_HOSTED = "self-hosted"
"""The provider of an endpoint that you run: its tokens are free, its hours are not."""
_LIBRARY = f"genai-prices {importlib.metadata.version('genai-prices')}"
_FORESEEN = (dt.timedelta(), dt.timedelta(days=1), dt.timedelta(days=2))
"""A call may be billed at a price that starts after it is reserved: a batch runs for a day or more."""


class UnknownPriceError(InputError):
    """No source states a price; nothing is sent."""


class Lane(StrEnum):
    """How calls are sent: one by one, or as a provider's batch."""

    LIVE = "live"
    BATCH = "batch"


@dataclass(frozen=True)
class Usage:
    """Tokens that a provider bills for a call. ``cached_tokens`` are part of ``input_tokens``."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True)
class Price:
    """The price of a model at a provider in a lane, with its source. USD per million tokens.

    ``from_library``: genai-prices computes the cost, because it knows tiers and cached tokens. The two numbers are then
    those of a short call.
    """

    provider: str
    model: str
    lane: Lane
    input_usd: Decimal
    output_usd: Decimal
    source: str
    date: str
    context: int | None = None
    retired: str = ""
    family: str = ""
    from_library: bool = False

    def cost(self, usage: Usage, at: dt.datetime) -> Decimal:
        """Return the exact USD of a call that is billed at a time."""
        if self.from_library:
            return _library_cost(self.provider, self.model, self.lane, usage, at)
        return (usage.input_tokens * self.input_usd + usage.output_tokens * self.output_usd) / MILLION


class PriceBook:
    """Every known price. Opening it needs no network."""

    def __init__(self, own: PriceFile | None = None, overlay: PriceFile | None = None) -> None:
        self._own = own or PriceFile()
        self._overlay = overlay or load_prices()

    @classmethod
    def with_own(cls, path: str) -> "PriceBook":
        """Return the prices with your own rates from a file, if ``path`` names one."""
        return cls(read_prices(Path(path)) if path else None)

    def providers(self) -> dict[str, Provider]:
        """Return the providers with an entry in the catalogue or in your own rates, by id."""
        return {provider.id: provider for provider in (*self._overlay.providers, *self._own.providers)}

    def provider_of(self, url: str) -> str:
        """Return the provider that serves an address: a known one, or `self-hosted` for a private host.

        Raises UnknownPriceError for a public host that no source names.
        """
        host = (urlsplit(url).hostname or "").lower()
        for provider in self.providers().values():
            if host in provider.hosts:
                return provider.id
        if _is_private(host):
            return SELF_HOSTED
        from genai_prices.data_snapshot import get_snapshot

        for known in get_snapshot().providers:
            found = re.match(known.api_pattern, f"https://{host}{urlsplit(url).path}")
            if found and found.end() >= len(f"https://{host}"):  # the whole host, not the start of another's
                return known.id
        raise UnknownPriceError(
            f"No price is known for the host {host}. Add its provider to the file that CIPPUS_PRICES names, or set "
            "CIPPUS_LLM_PROVIDER to self-hosted if you run it."
        )

    def price(self, provider: str, model: str, lane: Lane, at: dt.datetime) -> Price:
        """Return the price in force at a time, from the best source. Raises UnknownPriceError."""
        found = self.prices(provider, model, lane, at)
        if not found:
            raise UnknownPriceError(
                f"No price is known for {model} at {provider} in the {lane} lane. "
                "Add it to the file that CIPPUS_PRICES names."
            )
        return found[0]

    def prices(self, provider: str, model: str, lane: Lane, at: dt.datetime) -> list[Price]:
        """Return the price that each source states, best source first."""
        found = [self._stated(file, provider, model, lane, at) for file in (self._own, self._overlay)]
        return [price for price in (*found, _library_price(provider, model, lane, at)) if price is not None]

    def charge(self, provider: str, model: str, lane: Lane, at: dt.datetime, usage: Usage) -> Decimal:
        """Return the USD to charge for a call that is billed at a time. Raises UnknownPriceError.

        Your own rate is the price. Without one, the highest price that a source states is charged: when sources
        disagree, the provider may bill any of them.
        """
        self.price(provider, model, lane, at)
        found = self.prices(provider, model, lane, at)
        own = self._stated(self._own, provider, model, lane, at)
        return max(price.cost(usage, at) for price in ([own] if own else found))

    def bound(self, provider: str, model: str, lane: Lane, at: dt.datetime, most: Usage) -> Decimal:
        """Return the most that a call reserved now can cost, whichever of the coming prices bills it."""
        return max(self.charge(provider, model, lane, at + ahead, most) for ahead in _FORESEEN)

    def _stated(self, file: PriceFile, provider: str, model: str, lane: Lane, at: dt.datetime) -> Price | None:
        rates = [r for r in file.models if (r.provider, r.model) == (provider, model) and r.in_force(at)]
        if not rates:
            return None
        rate = max(rates, key=lambda r: r.start or dt.date.min)
        usd = _in_lane(rate, lane, self.providers().get(provider))
        if usd is None:
            return None
        return Price(
            provider, model, lane, *usd, rate.source, rate.date.isoformat(), rate.context, rate.retired, rate.family
        )

    def offers(self, at: dt.datetime) -> Iterator[Price]:
        """Yield the price of every model of the catalogue and of your own rates, live and in batches."""
        named = dict.fromkeys((r.provider, r.model) for r in (*self._own.models, *self._overlay.models))
        for provider, model in named:
            for lane in Lane:
                found = self.prices(provider, model, lane, at)
                if found:
                    yield found[0]

    def families(self) -> dict[str, tuple[str, Decimal | None, str]]:
        """Return family → (size, published score, source)."""
        return {f.id: (f.size, f.mmlu, f.source) for f in (*self._overlay.families, *self._own.families)}

    def speeds(self) -> list[tuple[Speed, Gpu]]:
        """Return how fast each rented machine serves a model, your own measurements first, and what it costs."""
        gpus = {gpu.id: gpu for gpu in (*self._overlay.gpus, *self._own.gpus)}
        found = {(speed.gpu, speed.family): speed for speed in (*self._overlay.speeds, *self._own.speeds)}
        for speed in found.values():
            if speed.gpu not in gpus:
                raise UnknownPriceError(
                    f"No price is known for the machine {speed.gpu}, whose speed with {speed.family} is stated. Add it "
                    "under gpus to the file that CIPPUS_PRICES names."
                )
        return [(speed, gpus[speed.gpu]) for speed in found.values()]

    def services(self) -> dict[str, Service]:
        """Return the price of what is no model, by id."""
        return {service.id: service for service in (*self._overlay.services, *self._own.services)}


def _in_lane(rate: Rate, lane: Lane, provider: Provider | None) -> tuple[Decimal, Decimal] | None:
    if lane is Lane.LIVE:
        return rate.input, rate.output
    if rate.batch_input is not None and rate.batch_output is not None:
        return rate.batch_input, rate.batch_output
    if provider is None or provider.batch is None:
        return None
    return rate.input * provider.batch.multiplier, rate.output * provider.batch.multiplier


def _library_price(provider: str, model: str, lane: Lane, at: dt.datetime) -> Price | None:
    short = Usage(1_000, 1_000)  # below the first tier of every model
    try:
        found = _library(provider, model, lane, short, at)
    except LookupError:
        return None
    if lane is Lane.BATCH:
        live = _library(provider, model, Lane.LIVE, short, at)
        if (live.input_price, live.output_price) == (found.input_price, found.output_price):
            return None  # the library answers with the live price where it knows no batch price
    if not found.total_price:
        return None  # a model without a price is listed as free
    return Price(
        provider,
        model,
        lane,
        found.input_price * 1_000,
        found.output_price * 1_000,
        f"{_LIBRARY}: {', '.join(found.provider.pricing_urls or [])}",
        "",
        found.model.context_window,
        "yes" if found.model.deprecated else "",
        from_library=True,
    )


def _library_cost(provider: str, model: str, lane: Lane, usage: Usage, at: dt.datetime) -> Decimal:
    return _library(provider, model, lane, usage, at).total_price


def _library(provider: str, model: str, lane: Lane, usage: Usage, at: dt.datetime) -> "PriceCalculation":
    import genai_prices  # most runs and commands ask for no price

    return genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_tokens,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
        price_context={"processing": "batch"} if lane is Lane.BATCH else None,
    )


def _is_private(host: str) -> bool:
    """Return whether only your own network resolves a host: an address of it, or a name without a public domain."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".svc", ".cluster.local", ".localhost"))
