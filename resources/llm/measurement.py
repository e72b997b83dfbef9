"""Measure an endpoint that you run: prefill and decode tokens per second as requests run at the same time."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from resources.llm.answers import Claim
from resources.llm.completions import Completions
from resources.llm.request import Answer, Message, Request

_WORDS = "The creator posted about food, travel and sport. "
_SECONDS_AN_HOUR, _MILLION = 3600, 1_000_000


@dataclass(frozen=True)
class Speed:
    """Tokens per second of all requests that run at the same time, and the mean time to the first token."""

    concurrency: int
    prefill_per_second: float
    decode_per_second: float
    first_token_seconds: float

    def usd_per_million(self, usd_per_hour: float) -> tuple[float, float]:
        """Return USD per million input and output tokens when a machine costs so much an hour."""
        per_second = usd_per_hour / _SECONDS_AN_HOUR
        return per_second / self.prefill_per_second * _MILLION, per_second / self.decode_per_second * _MILLION


def measure(
    completions: Completions, concurrencies: tuple[int, ...], prompt_words: int, answer_tokens: int
) -> Iterator[Speed]:
    """Yield the speed at each concurrency. Raises CallFailedError. Only for an endpoint whose tokens are free."""
    for concurrency in concurrencies:
        with ThreadPoolExecutor(concurrency) as pool:
            # Every prompt starts differently, so that a server's prefix cache does not answer for it.
            asked = [
                Request([Message("user", f"{concurrency}-{number} " + _WORDS * (prompt_words // 9))], answer_tokens)
                for number in range(concurrency * 2)
            ]
            started = time.monotonic()
            found = list(pool.map(lambda request: _timed(completions, request), asked))
            seconds = time.monotonic() - started
        waiting = sum(first for first, _, _ in found) / len(found)
        share = min(1.0, sum(first for first, _, _ in found) / sum(total for _, total, _ in found))
        usage = [answer.usage for _, _, answer in found]
        yield Speed(
            concurrency,
            sum(u.input_tokens for u in usage) / (seconds * share),
            sum(u.output_tokens for u in usage) / max(seconds * (1 - share), 1e-9),
            waiting,
        )


def _timed(completions: Completions, request: Request) -> tuple[float, float, Answer]:
    """Return seconds to the first token, seconds to the end, and the answer."""
    started = time.monotonic()
    first = 0.0
    for part in completions.stream(Claim("measurement", "", 1), request):
        if isinstance(part, str):
            first = first or time.monotonic() - started
        else:
            total = time.monotonic() - started
            return first or total, total, part[0]
    raise AssertionError("a stream ends with its answer")
