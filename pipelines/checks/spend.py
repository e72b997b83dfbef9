"""Checks of mart/spend, of the ledger that it is made of, and of mart/estimates."""

from collections.abc import Iterable
from decimal import Decimal

import polars as pl

from assets.marts.operations import ESTIMATES, SPEND
from pipelines.checks.declaration import check, count, deviation
from resources.delta.table import LakeResource
from resources.llm.answers import stored_answers
from resources.spend.ledger import Ledger
from resources.spend.resource import SpendResource


@check("mart/spend", "calls, tokens or cents more or fewer than in the ledger")
def totals_match_ledger(lake: LakeResource, spend: SpendResource) -> int:
    """The mart has every call, every token and every cent of the ledger's ended leases."""
    names = ("calls", "input_tokens", "output_tokens")
    rows = [row for lease in spend.ledger.history() for row in lease["rows"]]
    due = [*(sum(row[name] for row in rows) for name in names), round(sum(Decimal(row["usd"]) for row in rows) * 100)]
    cents = (pl.col("usd").sum() * 100).round().cast(pl.Int64)
    return deviation(pl.LazyFrame([due], orient="row"), lake.scan(SPEND).select(pl.sum(*names), cents.alias("cents")))


@check("mart/spend", "answers of language models that the ledger charged otherwise, twice or not at all")
def ledger_matches_answers(spend: SpendResource) -> int:
    """Every stored answer that cost something has one charge in the ledger, of the tokens and USD that it states."""
    return unmatched_answers(spend.ledger)


def unmatched_answers(ledger: Ledger) -> int:
    """Return the number of stored answers without exactly one charge of the same tokens and USD."""
    answers = stored_answers(ledger.store)
    return unpaid(ledger, ((it.id, it.usage.input_tokens, it.usage.output_tokens, it.usd) for it in answers))


def unpaid(ledger: Ledger, answers: Iterable[tuple[str, int, int, str]]) -> int:
    """Return how many answers (request id, input and output tokens, USD) have no charge of exactly that."""
    charges: dict[str, list[tuple[int, int, Decimal]]] = {}
    for record in ledger.charges():
        tokens = (int(record.details.get(name, 0)) for name in ("input_tokens", "output_tokens"))
        charges.setdefault(record.call.rpartition(".")[0], []).append((*tokens, record.usd))  # type: ignore[arg-type]
    return sum(
        charges.get(id_, []) != [(read, written, Decimal(usd))] for id_, read, written, usd in answers if Decimal(usd)
    )


@check("mart/estimates", "costs that are not tokens × price, or outside of their interval", reads=(ESTIMATES,))
def costs_match_tokens(lake: LakeResource) -> int:
    """Every cost is what its tokens cost at its prices, and within its interval."""
    read = pl.col("input_tokens") * pl.col("usd_in_per_million")
    written = pl.col("output_tokens") * pl.col("usd_out_per_million")
    due, cost = (read + written) / 1_000_000, pl.col("usd")
    is_due = (cost - due).abs() <= due * 1e-9 + 1e-12
    is_within = (pl.col("usd_low") <= cost * (1 + 1e-9)) & (cost <= pl.col("usd_high") * (1 + 1e-9))
    return count(lake.scan(ESTIMATES).filter(~(is_due & is_within).fill_null(value=False)))
