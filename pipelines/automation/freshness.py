"""Freshness policies: how old an asset may be before the UI shows it as late."""

from collections.abc import Iterable
from datetime import timedelta

from dagster import AssetsDefinition, AssetSpec, FreshnessPolicy, map_asset_specs

_HOURLY = timedelta(minutes=90), timedelta(hours=3)
"""Extraction runs every hour. Warn after one missed hour; fail after three hours."""
_DAILY = timedelta(hours=12), timedelta(hours=24)
"""These assets are updated when the lake changes. A day without any post indicates a failure upstream."""
WINDOWS = {"raw": _HOURLY, "lake": _HOURLY, "qdrant": _DAILY, "mart": _DAILY}
"""Asset group → the ages from which its assets are late, and too old."""
POLICIES = {
    group: FreshnessPolicy.time_window(warn_window=late, fail_window=too_old)
    for group, (late, too_old) in WINDOWS.items()
}
"""Asset group → policy of its assets."""


def with_freshness(assets: Iterable[AssetsDefinition | AssetSpec]) -> list[AssetsDefinition | AssetSpec]:
    """Return the assets, each with the policy of its group."""

    def fresh(spec: AssetSpec) -> AssetSpec:
        policy = POLICIES.get(spec.group_name or "")
        return spec.replace_attributes(freshness_policy=policy) if policy else spec

    return [*map_asset_specs(fresh, assets)]
