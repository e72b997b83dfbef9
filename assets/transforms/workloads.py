"""What a corpus amounts to when a language model reads it: the workloads of an estimate. Pure.

Sizes are in tokens of the encoder, which every chunk states. A ratio turns them into tokens of a language model.
"""

import math
from dataclasses import dataclass

import polars as pl

from assets.transforms.estimates import TEAMS_CASE, Interval, Workload, exact
from assets.transforms.summaries.sample import POST_TOKENS

MOST_POSTS = 20_000
POST_OVERHEAD = 12
"""Tokens of Llama that the JSON around a post takes: its id, names, quotes."""
_TOKENS_A_POST = 40


@dataclass(frozen=True)
class Part:
    """A part of a corpus: texts that are sent, their tokens, and those of the longest account."""

    posts: int = 0
    tokens: int = 0
    largest: int = 0


@dataclass(frozen=True)
class Corpus:
    """The accounts with texts, all texts, those of the newest 20,000 posts an account, and those that are sent."""

    accounts: int
    whole: Part
    capped: Part
    sent: Part


@dataclass(frozen=True)
class Asked:
    """What a request adds to the texts: tokens of the instructions, around each post, and of the answer."""

    prompt_tokens: int = 350
    post_overhead: int = POST_OVERHEAD
    answer_tokens: int = 200


def measured(chunks: pl.LazyFrame, budget: int) -> Corpus:
    """Return the sizes of a corpus from (account_id, chunk_no, tokens) of its chunks.

    ``budget``: most tokens of posts that are sent for an account. Of a post its first chunk is sent, cut to
    `POST_TOKENS`. Memory: one row of numbers per account.
    """
    first = pl.col("tokens").filter(pl.col("chunk_no") == 0).cast(pl.Int64)
    accounts = chunks.group_by("account_id").agg(
        posts=first.len(),
        tokens=pl.col("tokens").cast(pl.Int64).sum(),
        clipped=first.clip(upper_bound=POST_TOKENS).sum(),
    )
    share = (MOST_POSTS / pl.col("posts")).clip(upper_bound=1.0)
    sent = pl.col("clipped").clip(upper_bound=budget)
    parts = {
        "whole": (pl.col("posts"), pl.col("tokens")),
        "capped": (pl.col("posts").clip(upper_bound=MOST_POSTS), (pl.col("tokens") * share).round().cast(pl.Int64)),
        "sent": ((pl.col("posts") * sent / pl.col("clipped").clip(lower_bound=1)).ceil().cast(pl.Int64), sent),
    }
    totals: dict[str, pl.Expr] = {}
    for name, (posts, tokens) in parts.items():
        totals |= {f"{name}_posts": posts.sum(), f"{name}_tokens": tokens.sum(), f"{name}_largest": tokens.max()}
    row = accounts.select(pl.len().alias("accounts"), **totals).collect().row(0, named=True)
    found = {name: Part(*(int(row[f"{name}_{of}"] or 0) for of in ("posts", "tokens", "largest"))) for name in parts}
    return Corpus(row["accounts"], **found)


def workloads(corpus: Corpus, ratio: Interval, asked: Asked, budget: int) -> list[Workload]:
    """Return what can be sent of a corpus, the least first. ``ratio``: tokens of a model per token of the encoder."""
    named = {
        f"posts that a run sends: at most {budget:,} tokens an account": corpus.sent,
        f"every text of the corpus, of at most {MOST_POSTS:,} posts an account": corpus.capped,
        "every text of the corpus": corpus.whole,
    }
    return [
        Workload(
            name,
            corpus.accounts,
            ratio * part.tokens,
            (ratio.value + part.posts * asked.post_overhead / max(part.tokens, 1)) * part.largest,
            asked.prompt_tokens,
            asked.answer_tokens,
            corpus.whole.posts,
            float(part.posts * asked.post_overhead),
        )
        for name, part in named.items()
    ]


def teams_case(ratio: Interval, asked: Asked, budget: int) -> list[Workload]:
    """Return the case of the team: as it was estimated, of at most 20,000 posts an account, and as Cippus samples.

    How its posts spread over accounts is not known; an exponential distribution with their mean is assumed.
    """
    accounts = TEAMS_CASE.accounts
    mean = TEAMS_CASE.text_tokens.value / accounts / _TOKENS_A_POST
    share = 1 - math.exp(-MOST_POSTS / mean)
    tokens = accounts * budget
    return [
        Workload(
            f"the team's case as Cippus samples it: at most {budget:,} tokens an account",
            accounts,
            ratio * tokens,
            (ratio.value + asked.post_overhead / _TOKENS_A_POST) * budget,
            asked.prompt_tokens,
            asked.answer_tokens,
            TEAMS_CASE.posts,
            float(tokens // _TOKENS_A_POST * asked.post_overhead),
        ),
        Workload(
            f"the team's case, at most {MOST_POSTS:,} posts an account",
            accounts,
            exact(TEAMS_CASE.text_tokens.value * share),
            MOST_POSTS * _TOKENS_A_POST,
            0,
            0,
            TEAMS_CASE.posts,
        ),
        TEAMS_CASE,
    ]
