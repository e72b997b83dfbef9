"""Every check, and its Dagster definitions: one step per asset for those of each run, one for its daily ones."""

from collections.abc import Iterator
from types import ModuleType

from dagster import AssetCheckKey, AssetChecksDefinition

from pipelines.checks import (
    amounts,
    audience,
    corpus,
    embeddings,
    files,
    freshness,
    labels,
    lake,
    marts,
    qdrant,
    quarantine,
    quicksight,
    raw,
    search,
    spend,
    summaries,
    testimonials,
    verticals,
)
from pipelines.checks.declaration import Check
from pipelines.checks.evaluation import definition

_MODULES = (
    *(raw, lake, corpus, embeddings, labels, audience, quarantine, verticals, summaries, testimonials, qdrant, search),
    *(marts, amounts, spend, quicksight, files, freshness),
)


def _declared(module: ModuleType) -> Iterator[Check]:
    for value in vars(module).values():
        found = value if isinstance(value, list) else [value]
        yield from (one for one in found if isinstance(one, Check))


CHECKS = [check for module in _MODULES for check in _declared(module)]
DAILY = frozenset(check.spec.key for check in CHECKS if check.daily)
"""Checks that run once a day, and not with their asset."""


def keys(*, daily: bool) -> list[AssetCheckKey]:
    """Return the keys of the daily checks, or of the others."""
    return [check.spec.key for check in CHECKS if check.daily is daily]


def definitions() -> list[AssetChecksDefinition]:
    """Return the definitions of all checks."""
    steps: dict[tuple[str, str], list[Check]] = {}
    for check in CHECKS:
        steps.setdefault((check.asset, "daily_checks" if check.daily else "checks"), []).append(check)
    return [definition(asset, checks, suffix) for (asset, suffix), checks in steps.items()]
