"""One rate limit for all requests of a process to an endpoint."""

import threading
import time
from collections.abc import Callable


class RateLimit:
    """Requests and tokens per minute; 0 means no limit. Safe to use from several threads.

    A provider's 429 pauses every request, not only the one that was refused.
    """

    def __init__(
        self,
        requests_per_minute: float = 0.0,
        tokens_per_minute: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rates = requests_per_minute / 60, tokens_per_minute / 60
        self._clock, self._sleep = clock, sleep
        self._lock, self._free_at = threading.Lock(), [clock()] * 2
        self._paused_until = clock()

    def wait(self, tokens: int) -> None:
        """Wait for the turn of a request with so many tokens."""
        with self._lock:
            start = max(self._clock(), self._paused_until, *self._free_at)
            for number, (rate, amount) in enumerate(zip(self._rates, (1, tokens), strict=True)):
                self._free_at[number] = start + (amount / rate if rate else 0.0)
            pause = start - self._clock()
        if pause > 0:
            self._sleep(pause)

    def pause(self, seconds: float) -> None:
        """Send nothing for a while, because the provider asked for it."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)
