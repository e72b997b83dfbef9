"""The receipt of an erasure: figures and hashes, never ids or contents."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from resources.erasure.scan import Findings


@dataclass
class Receipt:
    """What one erasure did. It holds hashes and figures, never ids or contents.

    ``removed``: layer → rows, files, bytes, versions, points; ``seconds`` by step.
    """

    account: str
    attempt: int
    started_at: str
    found_before: Findings
    found_after: Findings | None = None
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    canaries: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether the scan at the end found nothing."""
        return self.found_after is not None and not self.found_after.places

    def take(self, layer: str, **figures: int) -> None:
        """Add to what was removed of a layer; zeros are left out."""
        held = Counter(self.removed.get(layer, {}))
        held.update({name: figure for name, figure in figures.items() if figure})
        if held:
            self.removed[layer] = dict(sorted(held.items()))

    def to_json(self) -> dict[str, Any]:
        """The receipt as it is filed and printed."""
        after = self.found_after or Findings()
        return {
            "account": self.account,
            "attempt": self.attempt,
            "cippus": version("cippus"),
            "started_at": self.started_at,
            "finished_at": datetime.now(UTC).isoformat(),
            "complete": self.is_clean,
            "removed": dict(sorted(self.removed.items())),
            "canaries_searched": self.canaries,
            "found_before": self.found_before.to_json(),
            "found_after": {**after.to_json(), "left_in": sorted(after.places)},
            "seconds": {name: round(taken, 3) for name, taken in self.seconds.items()},
            "notes": self.notes,
        }


class Clock:
    """Seconds by step."""

    def __init__(self, on_step: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._on_step = on_step

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time a step, and say that it begins."""
        self._on_step(step)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = time.monotonic() - began
