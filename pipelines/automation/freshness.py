"""Freshness policies: how old an asset may be before the UI shows it as late."""

from collections.abc import Iterable
from datetime import timedelta

from dagster import AssetKey, AssetsDefinition, AssetSpec, FreshnessPolicy, map_asset_specs

from assets.stages import ASSETS

_HOURS, _DAY = timedelta(hours=3), timedelta(hours=24)
_HOURLY = FreshnessPolicy.time_window(fail_window=_HOURS, warn_window=timedelta(minutes=90))
"""Extraction runs every hour. Warn after one missed hour; fail after three hours."""
_DAILY = FreshnessPolicy.time_window(fail_window=_DAY, warn_window=timedelta(hours=12))
"""These assets are updated when the lake changes. A day without any post indicates a failure upstream."""
POLICIES = {"raw": _HOURLY, "lake": _HOURLY, "qdrant": _DAILY, "mart": _DAILY, "quicksight": _DAILY}
"""Asset group → policy of its assets: everything that is served, and what it comes from. A policy looks at the newest
event of any bucket; the check `buckets_fresh` looks at each bucket."""


def fail_windows() -> dict[AssetKey, timedelta]:
    """Return the assets with a policy, each with the age from which it is late."""
    windows = {name: _HOURS if policy is _HOURLY else _DAY for name, policy in POLICIES.items()}
    keys = [key for made in ASSETS if isinstance(made, AssetsDefinition) for key in made.keys]
    return {key: windows[key.path[0]] for key in keys if key.path[0] in windows}


def with_freshness(assets: Iterable[AssetsDefinition | AssetSpec]) -> list[AssetsDefinition | AssetSpec]:
    """Return the assets, each with the policy of its group."""

    def fresh(spec: AssetSpec) -> AssetSpec:
        policy = POLICIES.get(spec.group_name or "")
        return spec.replace_attributes(freshness_policy=policy) if policy else spec

    return [*map_asset_specs(fresh, assets)]
