"""Run assets by calling them, in the order of the graph, without Dagster's executor.

It is the same code of every stage. Dagster's events, plans and records of a run in which nothing changed take twice the
CPU of its assets, and hundreds of tests run a world. Worlds behind a governor, commands and sensors run in Dagster.
"""

import logging
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetsDefinition,
    DagsterInstance,
    MaterializeResult,
    MetadataValue,
)

from pipelines.definitions import defs

GRAPH = defs.resolve_asset_graph()
_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False


@dataclass(frozen=True)
class Context:
    """What an asset asks of its `AssetExecutionContext`."""

    assets_def: AssetsDefinition
    partition_keys: Sequence[str]
    run: SimpleNamespace
    retry_number: int = 0
    log: logging.Logger = _LOG
    observations: list[AssetObservation] = field(default_factory=list)

    @property
    def instance(self) -> DagsterInstance:
        """An instance without any event: nothing was timed."""
        return _instance()

    @property
    def asset_key(self) -> AssetKey:
        return self.assets_def.key

    def log_event(self, event: AssetObservation) -> None:
        self.observations.append(event)

    def add_asset_metadata(self, metadata: Mapping[str, Any], partition_key: str) -> None:
        """Check the metadata of a bucket as Dagster does."""
        AssetMaterialization(self.asset_key, metadata=metadata, partition=partition_key)


@dataclass(frozen=True)
class DirectRun:
    """Asset → metadata of its totals, and the failures. Assets downstream of a failure were not called."""

    totals: Mapping[str, Mapping[str, MetadataValue[Any]]]
    errors: Sequence[str]


def run_directly(
    chosen: Collection[AssetKey],
    resources: Mapping[str, Any],
    partition_keys: Sequence[str],
    configs: Mapping[str, Mapping[str, Any]],
) -> DirectRun:
    """Call the assets in lineage order. ``configs`` are by op, as in a run's configuration."""
    run = SimpleNamespace(run_id=str(uuid4()), tags={}, job_name="direct")
    totals: dict[str, Mapping[str, MetadataValue[Any]]] = {}
    errors: list[str] = []
    missing: set[AssetKey] = set()
    for key in GRAPH.toposorted_asset_keys:
        if key not in chosen or key not in _assets():
            continue
        if missing & GRAPH.get(key).parent_keys:
            missing.add(key)
            continue
        asset = _assets()[key]
        context = Context(asset, partition_keys if asset.partitions_def else [], run)
        try:
            made = _call(asset, context, resources, configs.get(asset.op.name, {}))
        except Exception as error:
            missing.add(key)
            errors.append("".join(traceback.format_exception(error)))
        else:
            of_buckets = context.observations[-1:]
            event = of_buckets[0] if of_buckets else AssetMaterialization(key, metadata=made.metadata)
            totals[key.to_user_string()] = event.metadata
    return DirectRun(totals, errors)


def _call(
    asset: AssetsDefinition, context: Context, resources: Mapping[str, Any], config: Mapping[str, Any]
) -> "MaterializeResult[None]":
    function = asset.op.compute_fn.decorated_fn  # type: ignore[union-attr]
    given: dict[str, Any] = {}
    for name, parameter in [*signature(function).parameters.items()][1:]:
        given[name] = parameter.annotation(**config) if name == "config" else resources[name]
    found: MaterializeResult[None] = function(context, **given)
    return found


@cache
def _instance() -> DagsterInstance:
    return DagsterInstance.ephemeral()


@cache
def _assets() -> dict[AssetKey, AssetsDefinition]:
    return {key: asset for asset in defs.assets or [] if isinstance(asset, AssetsDefinition) for key in asset.keys}
