"""Asset checks: every promise of a stage, verified against what is really there.

Belongs here: reading and comparing; a check may read a whole table, because it trusts nobody's count. Not here: repair.
"""

from dagster import AssetCheckResult, AssetCheckSeverity


def verdict(problem: str, *, found: int, metadata: dict[str, int | float | str] | None = None) -> AssetCheckResult:
    """Passed when nothing was found; otherwise an ERROR that says how much of what was."""
    return AssetCheckResult(
        passed=found == 0,
        severity=AssetCheckSeverity.ERROR,
        description=f"{found:,} {problem}." if found else f"No {problem}.",
        metadata={"found": found, **(metadata or {})},
    )
