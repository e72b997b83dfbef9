"""Counts of the page's own requests, as Prometheus reads them."""

import threading
from collections import Counter
from dataclasses import dataclass, field

_BUCKETS = (0.05, 0.15, 0.5, 1.5, 5.0)
"""Upper ends in seconds; 0.15 and 0.5 are the page's targets for p50 and p95."""


@dataclass
class PageMetrics:
    """Requests by view and status, and their seconds."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    within: Counter[tuple[str, float]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, view: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        with self._lock:
            self.requests[view, status] += 1
            self.seconds[view] += seconds  # type: ignore[assignment]  # a Counter of floats
            for bound in _BUCKETS:
                self.within[view, bound] += seconds <= bound

    def lines(self) -> list[str]:
        """Return the lines of a scrape."""
        with self._lock:
            total: Counter[str] = Counter()
            lines = ["# TYPE cippus_page_requests_total counter"]
            for (view, status), count in sorted(self.requests.items()):
                lines.append(f'cippus_page_requests_total{{view="{view}",status="{status}"}} {count}')
                total[view] += count
            lines.append("# TYPE cippus_page_seconds histogram")
            for view, count in sorted(total.items()):
                for bound in _BUCKETS:
                    lines.append(f'cippus_page_seconds_bucket{{view="{view}",le="{bound}"}} {self.within[view, bound]}')
                lines.append(f'cippus_page_seconds_bucket{{view="{view}",le="+Inf"}} {count}')
                lines.append(f'cippus_page_seconds_sum{{view="{view}"}} {self.seconds[view]:.6f}')
                lines.append(f'cippus_page_seconds_count{{view="{view}"}} {count}')
        return lines
