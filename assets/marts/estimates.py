"""mart/estimates: what summaries of all accounts would cost, by what is sent, provider, model and lane."""

import datetime as dt
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from assets.corpus import CHUNKS
from assets.framework.asking import DONE
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.transforms.estimates import PRIOR_TOKENS_PER_BYTE, Interval, Offer, Option, Workload, exact, total_tokens
from assets.transforms.summaries.prompt import system
from assets.transforms.summaries.sample import POST_TOKENS
from assets.transforms.workloads import Asked, Corpus, measured, workloads
from resources.delta.table import LakeResource
from resources.models.llm_tokenizers import has_tokenizer, llm_token_counts
from resources.settings import bucket_count
from resources.spend.prices import MILLION, SELF_HOSTED, Lane, PriceBook

TOKENS_PER_MINUTE = 2_000_000
"""A rate limit, for the hours where none is set."""
EXACT_TOKENS, SAMPLE_TOKENS = 12_000_000, 1_000_000
"""Tokens of a corpus that `cippus estimate` counts text by text, and of a sample of a larger one."""
_FAMILY, _SEED, _LEAST_ACCOUNTS, _LEAST_ANSWERS = "llama-3.1-70b", 20_261_129, 30, 30
_TEMPLATE_TOKENS = 20


def offers(book: PriceBook, models: Sequence[str] = ()) -> list[Offer]:
    """Return what the price book offers, live, in batches and self-hosted, and ``models`` (PROVIDER/MODEL).

    Raises UnknownPriceError.
    """
    now, families = dt.datetime.now(dt.UTC), book.families()
    prices = list(book.offers(now))
    for name in models:
        provider, _, wanted = name.partition("/")
        prices.append(book.price(provider, wanted, Lane.LIVE, now))
        prices += book.prices(provider, wanted, Lane.BATCH, now)[:1]
    found = {}
    for price in prices:
        others = book.prices(price.provider, price.model, price.lane, now)[1:]
        also = ", ".join(
            f"${other.input_usd.normalize():f}/${other.output_usd.normalize():f}"
            for other in others
            if (other.input_usd, other.output_usd) != (price.input_usd, price.output_usd)
        )
        found[price.provider, price.model, price.lane] = Offer(
            price.provider, price.model, price.lane.value, price.input_usd, price.output_usd,
            *_quality(families, price.family), price.context, price.retired, price.source, price.date, also,
            _batch_hours(book, price.provider) if price.lane is Lane.BATCH else 0.0,
        )  # fmt: skip
    return [*found.values(), *_self_hosted(book, families)]


def _quality(families: dict[str, tuple[str, Decimal | None, str]], family: str) -> tuple[str, str]:
    size, score, _ = families.get(family, ("", None, ""))
    return size, "" if score is None else str(score)


def _batch_hours(book: PriceBook, provider: str) -> float:
    known = book.providers().get(provider)
    return float(known.batch.hours if known is not None and known.batch is not None else 24)


def _self_hosted(book: PriceBook, families: dict[str, tuple[str, Decimal | None, str]]) -> list[Offer]:
    found = []
    for speed, gpu in book.speeds():
        per_second = gpu.usd_per_hour / 3600
        size, score = _quality(families, speed.family)
        offer = Offer(
            provider=SELF_HOSTED,
            model=f"{speed.family} on {gpu.gpu}",
            lane=SELF_HOSTED,
            input_usd=per_second / speed.prefill * MILLION,
            output_usd=per_second / speed.decode * MILLION,
            size=size,
            mmlu=score,
            context=speed.context,
            source=f"${gpu.usd_per_hour:f} an hour ({gpu.source}); speed {speed.source}",
            date=speed.date.isoformat(),
            prefill=float(speed.prefill),
            decode=float(speed.decode),
        )
        found.append(offer)
    return found


def corpus_workloads(
    lake: LakeResource, budget: int, exact_tokens: int = EXACT_TOKENS, sample_tokens: int = SAMPLE_TOKENS
) -> tuple[list[Workload], Interval, Asked, str]:
    """Return what can be sent of the corpus, tokens of Llama per token of the encoder, what a request adds, and how
    that is known: from the usage that answers reported, else counted, else from a sample. No texts, no workloads.

    ``budget``: most tokens of posts that are sent for an account. Reads one number a chunk, and the texts of a sample.
    """
    corpus = measured(lake.scan(CHUNKS).select("account_id", "chunk_no", "tokens"), budget)
    if not corpus.whole.tokens:
        return [], exact(1.0), Asked(), "the corpus has no text"
    asked = Asked(prompt_tokens=_instructions())
    reported = _reported(lake, asked.prompt_tokens)
    if reported.height >= _LEAST_ANSWERS:
        sizes, tokens = reported["size"].to_list(), reported["texts"].to_list()
        ratio = total_tokens(sizes, tokens, 1, corpus.accounts)
        asked = Asked(asked.prompt_tokens, 0, round(reported["output_tokens"].mean()))  # type: ignore[arg-type]
        how = f"from the usage that {reported.height:,} answers reported"
    else:
        ratio, how = _counted(lake, corpus, exact_tokens, sample_tokens)
    return workloads(corpus, ratio, asked, budget), ratio, asked, how


def _buckets() -> list[int]:
    """Return the account buckets in a random order that is always the same: their accounts are a sample."""
    count = bucket_count()
    return random.Random(_SEED).sample(range(count), count)  # noqa: S311 -- a sample, no secret


def _counted(lake: LakeResource, corpus: Corpus, exact_tokens: int, sample_tokens: int) -> tuple[Interval, str]:
    """Return tokens of Llama per token of the encoder, and how they were counted."""
    is_whole = corpus.whole.tokens <= exact_tokens
    wanted = corpus.whole.tokens if is_whole else sample_tokens
    is_counted, rows, read = has_tokenizer(_FAMILY), list[pl.DataFrame](), 0
    for bucket in _buckets():
        rows.append(_sizes(lake, bucket, None if is_whole else wanted - read, is_counted=is_counted))
        read += int(rows[-1]["size"].sum())
        if read >= wanted and sum(row.height for row in rows) >= _LEAST_ACCOUNTS:
            break
    found = pl.concat(rows)
    size, tokens = int(found["size"].sum()), float(found["tokens"].sum())
    if not is_counted:
        ratio = tokens / size
        low, high = (edge / PRIOR_TOKENS_PER_BYTE[0] for edge in PRIOR_TOKENS_PER_BYTE[1:])
        return Interval(ratio, ratio * low, ratio * high), "tokens per byte assumed"
    if is_whole:
        return exact(tokens / size), f"counted with the tokenizer of {_FAMILY}"
    ratio_of = total_tokens(found["size"].to_list(), found["tokens"].to_list(), 1, corpus.accounts)
    return ratio_of, f"estimated from {found.height:,} accounts with the tokenizer of {_FAMILY}"


def _sizes(lake: LakeResource, bucket: int, most: int | None, *, is_counted: bool) -> pl.DataFrame:
    """Return (account_id, size, tokens) of accounts of a bucket: of all, or of some with ``most`` tokens."""
    chunks = lake.scan_cached(CHUNKS, bucket)
    if most is not None:
        sizes = chunks.group_by("account_id").agg(pl.col("tokens").cast(pl.Int64).sum()).sort("account_id").collect()
        order = sizes.sample(fraction=1.0, shuffle=True, seed=_SEED)
        is_first = pl.int_range(pl.len()) < _LEAST_ACCOUNTS
        chosen = order.filter((pl.col("tokens").cum_sum().shift(1, fill_value=0) < most) | is_first)
        chunks = chunks.join(chosen.lazy().select("account_id"), on="account_id", how="semi")
    texts = chunks.select("account_id", "tokens", "text").collect()
    if is_counted:
        counts = pl.Series(llm_token_counts(_FAMILY, texts["text"].to_list()), dtype=pl.Int64).cast(pl.Float64)
    else:
        counts = texts["text"].str.len_bytes() * PRIOR_TOKENS_PER_BYTE[0]
    return (
        texts.select("account_id", size=pl.col("tokens").cast(pl.Int64), tokens=counts)
        .group_by("account_id", maintain_order=True)
        .sum()
    )


def _instructions() -> int:
    """Return the tokens of the instructions of a request."""
    if not has_tokenizer(_FAMILY):
        return Asked().prompt_tokens
    return sum(llm_token_counts(_FAMILY, [system("")])) + _TEMPLATE_TOKENS


def _reported(lake: LakeResource, prompt_tokens: int) -> pl.DataFrame:
    """Return (size, texts, output_tokens) of answered requests: the encoder's tokens of their posts, and the tokens
    that the provider billed for them, without the instructions.
    """
    rows, found = list[pl.DataFrame](), 0
    for bucket in _buckets():
        answered = lake.scan_cached(MODEL_SUMMARIES, bucket).filter(
            pl.col("state") == DONE, pl.col("input_tokens").is_not_null()
        )
        sent = answered.select("account_id", "input_tokens", "output_tokens", post_id="sample").explode("post_id")
        first = lake.scan_cached(CHUNKS, bucket).filter(pl.col("chunk_no") == 0).select("post_id", "tokens")
        size = pl.col("tokens").clip(upper_bound=POST_TOKENS).cast(pl.Int64).sum()
        rows.append(
            sent.join(first, on="post_id")
            .group_by("account_id")
            .agg(
                size=size,
                texts=pl.col("input_tokens").first() - prompt_tokens,
                output_tokens=pl.col("output_tokens").first(),
            )
            .filter(pl.col("size") > 0, pl.col("texts") > 0)
            .sort("account_id")
            .collect()
        )
        found += rows[-1].height
        if found >= _LEAST_ANSWERS * _LEAST_ACCOUNTS:
            break
    return pl.concat(rows)


def as_row(option: Option) -> dict[str, Any]:
    """Return an option as a row of mart/estimates, without what all rows share."""
    offer, workload = option.offer, option.workload
    return {
        "workload": workload.name,
        "provider": offer.provider,
        "model": offer.model,
        "lane": offer.lane,
        "size": offer.size or None,
        "mmlu": float(offer.mmlu) if offer.mmlu else None,
        "usd": option.usd.value,
        "usd_low": option.usd.low,
        "usd_high": option.usd.high,
        "hours": option.hours,
        "context_fits": option.fits,
        "is_offered": not offer.retired,
        "accounts": workload.accounts,
        "input_tokens": workload.input_tokens.value,
        "output_tokens": float(workload.output_tokens),
        "usd_in_per_million": float(offer.input_usd),
        "usd_out_per_million": float(offer.output_usd),
        "other_prices": offer.also or None,
        "price_source": f"{offer.source} {offer.date}".strip(),
    }
