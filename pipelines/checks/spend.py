"""Checks of mart/spend, of the ledger that it is made of, of mart/estimates and of mart/model_comparison."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import product

import polars as pl

from assets.marts.comparison import MODEL_COMPARISON
from assets.marts.operations import ESTIMATES, SPEND
from assets.transforms.marts.comparison import AS_ANSWERED, BY_MODEL, EXTRACTIVE, OPINIONS, SUMMARISE, TASKS
from assets.verticals.quality import METHODS
from assets.verticals.taggers import current_methods
from pipelines.checks.declaration import check, count, deviation, differences
from resources.delta.table import LakeResource
from resources.llm.answers import stored_answers
from resources.spend.ledger import Ledger
from resources.spend.resource import SpendResource

_ROUNDING = 1e-9


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


@check(
    "mart/model_comparison",
    "figures other than those that they are made of, missing rows, or nulls without a reason",
    reads=(METHODS, ESTIMATES, MODEL_COMPARISON),
)
def figures_match_sources(lake: LakeResource) -> int:
    """Every method and every offered model has one row, with its measured quality or its cost; every null a reason."""
    rows = lake.scan(MODEL_COMPARISON)
    return _off_methods(lake, rows) + _off_offers(lake, rows) + count(rows.filter(_unreasoned()))


def _off_methods(lake: LakeResource, rows: pl.LazyFrame) -> int:
    if not count(rows):
        return count(lake.scan(METHODS))
    local = pl.LazyFrame(
        [*product(TASKS.values(), current_methods()), (SUMMARISE, EXTRACTIVE), (OPINIONS, EXTRACTIVE)],
        ["task", "method"],
        orient="row",
    )
    figures = {"quality": "macro_f1", "quality_low": "macro_f1_low", "quality_high": "macro_f1_high"}
    tasks = pl.col("item_kind").replace_strict(TASKS, return_dtype=pl.String)
    due = lake.scan(METHODS).select("method", task=tasks, **{name: pl.col(of) for name, of in figures.items()})
    missing = local.join(rows, on=["task", "method"], how="anti")
    measured = rows.filter(pl.col("task").is_in(list(TASKS.values())), pl.col("quality").is_not_null())
    return count(missing) + differences(due, measured)


def _off_offers(lake: LakeResource, rows: pl.LazyFrame) -> int:
    least = pl.col("input_tokens") == pl.col("input_tokens").min()
    sent = lake.scan(ESTIMATES).filter(pl.col("workload") == pl.col("workload").filter(least).first(), "is_offered")
    offers = rows.filter(pl.col("method") == BY_MODEL, pl.col("provider") != AS_ANSWERED)
    both = offers.join(sent, on=["provider", "model", "lane"], how="full")
    usd = pl.col("usd_per_million_posts") * pl.col("posts") / 1_000_000
    is_due = (usd - pl.col("usd")).abs() <= _ROUNDING * (1 + pl.col("usd"))
    return count(both.filter(~is_due.fill_null(value=False)))


def _unreasoned() -> pl.Expr:
    """Return whether a row is repeated, has a null without a reason, or hours that its speed does not give."""
    notes = {"quality": "quality_note", "usd_per_million_posts": "cost_note", "posts_per_second": "speed_note"}
    seconds = pl.col("hours_per_million_posts") * 3600 * pl.col("posts_per_second") / 1_000_000
    return pl.any_horizontal(
        *(pl.col(name).is_null() & (pl.col(note).fill_null("") == "") for name, note in notes.items()),
        ((seconds - 1).abs() > _ROUNDING).fill_null(value=False),
        pl.col("hours_per_million_posts").is_null() != pl.col("posts_per_second").is_null(),
        pl.struct(MODEL_COMPARISON.key).is_duplicated(),
    )
