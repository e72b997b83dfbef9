"""What it would cost to send a corpus to a language model: tokens with an interval, and dollars by option. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

_Z90, _MILLION = 1.6448536269514722, 1_000_000
PRIOR_TOKENS_PER_BYTE = (0.27, 0.18, 0.55)
"""Mean and 90 % interval of tokens per UTF-8 byte where no tokenizer is at hand and no usage was reported: .22 to .26
for English in Llama's and OpenAI's tokenizers, up to .5 for short posts of hashtags, emoji and other scripts."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 90 % interval."""

    value: float
    low: float
    high: float

    def __mul__(self, factor: float) -> "Interval":
        return Interval(self.value * factor, self.low * factor, self.high * factor)

    def __add__(self, other: float) -> "Interval":
        return Interval(self.value + other, self.low + other, self.high + other)


def exact(value: float) -> Interval:
    """Return a number that was counted."""
    return Interval(value, value, value)


def total_tokens(sizes: Sequence[int], tokens: Sequence[int], total_bytes: int, texts: int) -> Interval:
    """Return the tokens of ``texts`` texts of ``total_bytes``, from a random sample of (bytes, tokens) without repeats.

    A ratio estimate: bytes are known for the whole corpus, and tokens follow them closely. Its interval is Student's
    with a correction for the sampled share. An empty sample gives the prior.
    """
    if len(sizes) < 2 or not sum(sizes):
        mean, low, high = PRIOR_TOKENS_PER_BYTE
        return Interval(mean * total_bytes, low * total_bytes, high * total_bytes)
    size, count = np.asarray(sizes, np.float64), np.asarray(tokens, np.float64)
    number, ratio = len(size), float(count.sum() / size.sum())
    # Leave-one-out ratios: their spread holds when a few long texts dominate the sample.
    without = (count.sum() - count) / np.maximum(size.sum() - size, 1.0)
    share = min(1.0, number / max(texts, number))
    variance = (number - 1) / number * float(((without - without.mean()) ** 2).sum()) * (1 - share)
    half = _student(_freedom(without - without.mean())) * math.sqrt(variance) * total_bytes
    return Interval(ratio * total_bytes, max(0.0, ratio * total_bytes - half), ratio * total_bytes + half)


def _freedom(deviations: NDArray[np.float64]) -> float:
    """Return the degrees of freedom of a variance: fewer than n - 1 when a few texts dominate it (Satterthwaite)."""
    number, squares = len(deviations), deviations**2
    if number < 4 or not squares.any():
        return float(number - 1)
    kurtosis = float((squares**2).mean() / squares.mean() ** 2) * (number + 1) / (number - 1)
    spread = kurtosis / number - (number - 3) / (number * (number - 1))
    return min(float(number - 1), max(2.0, 2 / spread)) if spread > 0 else float(number - 1)


def _student(freedom: float) -> float:
    """Return the 95 % quantile of Student's distribution, by Cornish and Fisher's expansion."""
    z = _Z90
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


@dataclass(frozen=True)
class Workload:
    """What is sent: accounts, the tokens of their texts, and the tokens of instructions and answers per account.

    ``largest``: tokens of the longest account. ``posts``: number of posts that are
    embedded and searched, whatever is sent. ``overhead_tokens``: tokens around the posts, such as their ids.
    """

    name: str
    accounts: int
    text_tokens: Interval
    largest: float
    prompt_tokens: int = 350
    answer_tokens: int = 200
    posts: int = 0
    overhead_tokens: float = 0.0

    @property
    def input_tokens(self) -> Interval:
        """Tokens of all requests."""
        return self.text_tokens + (self.overhead_tokens + self.accounts * self.prompt_tokens)

    @property
    def output_tokens(self) -> int:
        """Tokens of all answers."""
        return self.accounts * self.answer_tokens


@dataclass(frozen=True)
class Offer:
    """A model at a provider in a lane, with USD per million tokens, and what other sources say.

    ``hours``: how long a batch may take. ``prefill`` and ``decode``: tokens per second of a machine that you rent.
    """

    provider: str
    model: str
    lane: str
    input_usd: Decimal
    output_usd: Decimal
    size: str = ""
    mmlu: str = ""
    context: int | None = None
    retired: str = ""
    source: str = ""
    date: str = ""
    also: str = ""
    hours: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0

    def seconds(self, input_tokens: float, output_tokens: float, tokens_per_minute: float) -> float:
        """Return how long it takes: by the batch's promise, the machine's speed, or the rate limit."""
        if self.hours:
            return self.hours * 3600
        if self.prefill:
            return input_tokens / self.prefill + output_tokens / self.decode
        return (input_tokens + output_tokens) / tokens_per_minute * 60


@dataclass(frozen=True)
class Option:
    """What a workload costs with an offer. ``fits``: the largest account is within the model's context."""

    workload: Workload
    offer: Offer
    usd: Interval
    hours: float
    fits: bool | None


def options(workload: Workload, offers: Sequence[Offer], tokens_per_minute: float) -> list[Option]:
    """Return the options by cost, cheapest first; retired models last. ``tokens_per_minute``: your rate limit."""
    found = []
    for offer in offers:
        output_usd = float(offer.output_usd) * workload.output_tokens / _MILLION
        usd = workload.input_tokens * (float(offer.input_usd) / _MILLION) + output_usd
        hours = offer.seconds(workload.input_tokens.value, workload.output_tokens, tokens_per_minute) / 3600
        needed = workload.largest + workload.prompt_tokens + workload.answer_tokens
        fits = None if offer.context is None else needed <= offer.context
        found.append(Option(workload, offer, usd, hours, fits))
    return sorted(found, key=lambda option: (bool(option.offer.retired), option.usd.value))


TEAMS_CASE = Workload(
    "the team's case: every post of every account", 440_000, exact(193e9), 800_000, 0, 0, 4_825_000_000
)
"""193 billion tokens, in posts of 40. At $.88 a million they cost $170,000."""
