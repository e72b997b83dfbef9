"""How old an asset may be: what the UI shows as late."""

from collections.abc import Iterable
from datetime import timedelta

from dagster import AssetsDefinition, AssetSpec, FreshnessPolicy, map_asset_specs

_HOURLY = FreshnessPolicy.time_window(fail_window=timedelta(hours=3), warn_window=timedelta(minutes=90))
"""Extraction runs every hour, changed or not: one missed hour warns, a morning without fails."""
_DAILY = FreshnessPolicy.time_window(fail_window=timedelta(hours=24), warn_window=timedelta(hours=12))
"""These follow the lake when it changes. A day on which nobody posts anything is as suspicious as a broken chain."""
POLICIES = {"raw": _HOURLY, "lake": _HOURLY, "qdrant": _DAILY, "mart": _DAILY}
"""Group → policy of its assets."""


def with_freshness(assets: Iterable[AssetsDefinition | AssetSpec]) -> list[AssetsDefinition | AssetSpec]:
    """The assets, each with the policy of its group."""

    def fresh(spec: AssetSpec) -> AssetSpec:
        policy = POLICIES.get(spec.group_name or "")
        return spec.replace_attributes(freshness_policy=policy) if policy else spec

    return [*map_asset_specs(fresh, assets)]
