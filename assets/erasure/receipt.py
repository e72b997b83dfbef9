"""The receipt of an erasure: figures and hashes, never ids or contents."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from resources.erasure.scan import Findings


@dataclass
class Receipt:
    """The result of one erasure. ``removed``: layer → rows, files, bytes, versions, points; ``seconds`` by step."""

    account: str
    attempt: int
    canaries: int
    on_step: Callable[[str], None]
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    found_before: Findings = field(default_factory=Findings)
    found_after: Findings | None = None
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether the last scan found nothing, and could search everything."""
        return self.found_after is not None and not (self.found_after.places or self.found_after.unsearched)

    def add(self, layer: str, **figures: int) -> None:
        """Add to the removed figures of a layer, without zeros."""
        total = Counter(self.removed.get(layer, {}))
        total.update({name: figure for name, figure in figures.items() if figure})
        if total:
            self.removed[layer] = dict(sorted(total.items()))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report the start of a step, and record its seconds."""
        self.on_step(name)
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start

    def to_json(self) -> dict[str, Any]:
        """Return the receipt to print. To file it, pass it through `without_texts`: a place may be named by an id."""
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
            "not_searched": dict(sorted(after.unsearched.items())),
            "seconds": {name: round(taken, 3) for name, taken in self.seconds.items()},
            "notes": self.notes,
        }


def without_texts(receipt: dict[str, Any], texts: Iterable[str]) -> dict[str, Any]:
    """Return a receipt with … for every one of these texts in the names of places."""

    def masked(place: str) -> str:
        for text in texts:
            place = place.replace(text, "…")
        return place

    after = {**receipt["found_after"], "left_in": [masked(place) for place in receipt["found_after"]["left_in"]]}
    not_searched = {masked(place): reason for place, reason in receipt["not_searched"].items()}
    return {**receipt, "found_after": after, "not_searched": not_searched}
