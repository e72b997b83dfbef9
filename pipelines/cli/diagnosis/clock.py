"""Compare the clock of a server with this host's."""

from datetime import datetime, timedelta

from pipelines.cli.diagnosis.registry import Finding

_NOTICED, _WRONG = timedelta(seconds=5), timedelta(seconds=300)
"""S3 refuses requests that are 900 seconds apart; CIPPUS_CLOCK_SKEW_SECONDS allows 60 by default."""


def compare_clocks(server: str, there: datetime, began: datetime, ended: datetime) -> Finding:
    """Return a finding on the clock of a server that answered ``there`` between two times of this host."""
    apart = max(began - there, there - ended, timedelta(0))
    if apart <= _NOTICED:
        return Finding.ok(f"The clocks of this host and {server} agree.")
    is_behind = there > ended
    text = f"The clock of this host is {apart.total_seconds():,.0f} s {'behind' if is_behind else 'ahead of'} {server}."
    fix = "Synchronise the clock of this host (chrony, NTP), or the server's."
    return Finding.error(text, fix) if apart > _WRONG else Finding.warning(text, fix)
