"""Asset checks: every promise of a stage, verified against the stored data.

Belongs here: reading and comparing. A check may read a whole table, because it trusts no stored count.
Not here: repair.
"""

from dagster import AssetCheckResult, AssetCheckSeverity


def verdict(problem: str, *, found: int, metadata: dict[str, int | float | str] | None = None) -> AssetCheckResult:
    """Return a pass if ``found`` is 0, otherwise an ERROR that states the number of problems."""
    return AssetCheckResult(
        passed=found == 0,
        severity=AssetCheckSeverity.ERROR,
        description=f"{found:,} {problem}." if found else f"No {problem}.",
        metadata={"found": found, **(metadata or {})},
    )
