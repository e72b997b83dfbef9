"""Prices: each has a source, an unknown one is an error, and a bound covers every price that may be billed."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.catalogues import CatalogueError
from resources.catalogues.prices import load_prices, read_prices
from resources.spend.prices import SELF_HOSTED, Lane, PriceBook, UnknownPriceError, Usage

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
BOOK = PriceBook()
LLAMA_70B = "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo"
LLAMA_33 = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


def own_rates(folder: Path, text: str) -> PriceBook:
    path = folder / "own.yaml"
    path.write_text(text)
    return PriceBook.with_own(str(path))


def test_every_price_of_the_overlay_is_usable() -> None:
    for rate in load_prices().models:
        price = BOOK.price(rate.provider, rate.model, Lane.LIVE, NOW)
        assert price.source, rate
        assert price.cost(Usage(1_000_000, 0), NOW) == rate.input, rate


def test_the_teams_case_is_170_thousand_dollars() -> None:
    usd = BOOK.price("together", LLAMA_70B, Lane.LIVE, NOW).cost(Usage(193_000_000_000, 0), NOW)
    assert round(usd, -3) == 170_000
    assert BOOK.price("together", LLAMA_70B, Lane.BATCH, NOW).cost(Usage(193_000_000_000, 0), NOW) == usd / 2


@pytest.mark.parametrize(
    ("provider", "model", "lane"),
    [
        ("openai", "no-such-model", Lane.LIVE),
        ("nobody", LLAMA_70B, Lane.LIVE),
        ("groq", "llama-3.3-70b-versatile", Lane.BATCH),
        ("deepinfra", "meta-llama/Llama-3.3-70B-Instruct-Turbo", Lane.BATCH),
        (SELF_HOSTED, LLAMA_70B, Lane.LIVE),
    ],
)
def test_an_unknown_price_is_an_error_and_never_zero(provider: str, model: str, lane: Lane) -> None:
    assert BOOK.prices(provider, model, lane, NOW) == []
    with pytest.raises(UnknownPriceError, match="No price is known"):
        BOOK.price(provider, model, lane, NOW)
    with pytest.raises(UnknownPriceError):
        BOOK.bound(provider, model, lane, NOW, Usage(1, 1))
    with pytest.raises(UnknownPriceError):
        BOOK.charge(provider, model, lane, NOW, Usage(1, 1))


def test_sources_that_disagree_are_both_shown_and_the_higher_is_charged() -> None:
    stated = BOOK.prices("together", LLAMA_33, Lane.LIVE, NOW)
    assert {price.input_usd for price in stated} == {Decimal("1.04"), Decimal("0.88")}
    million = Usage(1_000_000, 0)
    assert BOOK.charge("together", LLAMA_33, Lane.LIVE, NOW, million) == Decimal("1.04")


def test_own_rates_win(tmp_path: Path) -> None:
    book = own_rates(
        tmp_path,
        f"models: [{{provider: together, model: {LLAMA_33}, input: 0.7, output: 0.7, source: contract 12, "
        "date: 2026-11-01}]",
    )
    assert book.charge("together", LLAMA_33, Lane.LIVE, NOW, Usage(1_000_000, 0)) == Decimal("0.7")
    assert book.charge("together", LLAMA_33, Lane.BATCH, NOW, Usage(1_000_000, 0)) == Decimal("0.35")
    assert next(price.source for price in book.prices("together", LLAMA_33, Lane.LIVE, NOW)) == "contract 12"


def test_a_price_that_starts_tomorrow_bounds_a_call_today(tmp_path: Path) -> None:
    book = own_rates(
        tmp_path,
        """
models:
  - {provider: us, model: m, input: 1, output: 1, source: s, date: 2026-11-01}
  - {provider: us, model: m, input: 3, output: 3, from: 2026-11-30, source: s, date: 2026-11-01}
  - {provider: us, model: m, input: 9, output: 9, from: 2026-12-24, source: s, date: 2026-11-01}
""",
    )
    million = Usage(1_000_000, 0)
    assert book.charge("us", "m", Lane.LIVE, NOW, million) == 1
    assert book.bound("us", "m", Lane.LIVE, NOW, million) == 3
    assert book.charge("us", "m", Lane.LIVE, NOW + dt.timedelta(days=1), million) == 3


@given(st.integers(0, 400_000), st.integers(0, 20_000), st.integers(0, 400_000), st.integers(0, 20_000))
def test_a_bound_covers_every_smaller_call_with_tiers_too(tokens: int, out: int, less: int, less_out: int) -> None:
    used = Usage(min(tokens, less), min(out, less_out))
    for provider, model in (("google", "gemini-2.5-pro"), ("together", LLAMA_33), ("openai", "gpt-5-mini")):
        bound = BOOK.bound(provider, model, Lane.LIVE, NOW, Usage(tokens, out))
        assert bound >= BOOK.charge(provider, model, Lane.LIVE, NOW, used)


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.together.xyz/v1", "together"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("http://127.0.0.1:8080/v1", SELF_HOSTED),
        ("http://vllm.models.svc.cluster.local:8000/v1", SELF_HOSTED),
        ("http://10.1.2.3/v1", SELF_HOSTED),
    ],
)
def test_an_address_tells_its_provider(url: str, provider: str) -> None:
    assert BOOK.provider_of(url) == provider


@pytest.mark.parametrize(
    "url", ["https://llm.example.com/v1", "https://8.8.8.8/v1", "https://api.openai.com.evil.example/v1"]
)
def test_a_public_address_without_a_price_is_refused(url: str) -> None:
    with pytest.raises(UnknownPriceError, match="CIPPUS_PRICES"):
        BOOK.provider_of(url)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models: [{provider: p, model: m, input: -1, output: 1, source: s, date: 2026-01-01}]", "input"),
        ("models: [{provider: p, model: m, input: 1, output: 1, date: 2026-01-01}]", "source"),
        ("models: [{provider: p, model: m, input: 1, output: 1, source: s}]", "date"),
        ("models: [{provider: p, model: m, input: .nan, output: 1, source: s, date: 2026-01-01}]", "input"),
        ("models: [{provider: p, model: m, input: 1, outptu: 1, source: s, date: 2026-01-01}]", "output"),
        ("gpus: [{id: a, gpu: b, usd_per_hour: 0, source: s, date: 2026-01-01}]", "usd_per_hour"),
        ("providers: [{id: a, name: a}, {id: a, name: b}]", "more than one provider a"),
        ("{", "not YAML"),
    ],
)
def test_a_price_file_that_is_wrong_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=sentence):
        read_prices(path)


def test_a_price_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        PriceBook.with_own(str(tmp_path / "none.yaml"))


def test_retired_models_and_batch_limits_are_on_record() -> None:
    assert BOOK.price("together", LLAMA_70B, Lane.LIVE, NOW).retired
    lanes = {provider.id: provider.batch for provider in BOOK.providers().values()}
    limits = {name: lane and (lane.requests, lane.megabytes) for name, lane in lanes.items()}
    assert (limits["openai"], limits["together"], limits["groq"]) == ((50_000, 200), (50_000, 100), None)
