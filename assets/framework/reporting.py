"""Report a run to Dagster: metadata of each bucket's materialization, totals, data version, S3 traffic."""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetObservation,
    DagsterInstance,
    DataVersion,
    ExecuteInProcessResult,
    MaterializeResult,
    MetadataValue,
    TableRecord,
)

from assets.framework.incremental import RunMetrics
from resources.delta.table import ABSENT, TableSpec, fingerprint
from resources.s3.usage import PrefixUsage, Usage

DATA_VERSION = "data_version"
"""Metadata of each bucket: the fingerprint of its rows. Equal versions mean equal rows."""
_RUNS_LOOKED_AT = 50
_BUCKET_ROWS = "dagster/partition_row_count"


def reported(
    context: AssetExecutionContext, metrics: RunMetrics, table: TableSpec | None, usage: Usage
) -> MaterializeResult[None]:
    """Return the materialization of a run.

    In a run of several buckets each bucket's event has the bucket's own figures, and an observation of the asset has
    the run's totals, its S3 requests and its notes. In any other run the materialization has all.

    ``dagster/row_count`` is the number of rows of the whole table, which the UI shows for the asset, whichever bucket's
    event is the newest. ``dagster/partition_row_count`` is that of the bucket.

    Dagster keeps one data version per step. In a run of several buckets it is a hash of their versions, so it changes
    if any of them changes; the version of each is in its metadata.
    """
    if len(metrics.buckets) == 1:
        metrics.preview = next(iter(metrics.buckets.values())).preview
    whole = metrics.rows if metrics.table_rows is None else metrics.table_rows
    of_table = {"dagster/row_count": whole} if table else {}
    totals = {**_figures(metrics), **of_table, **metrics.notes, **s3_metadata(usage)}
    versions = {bucket: found.fingerprint for bucket, found in sorted(metrics.buckets.items()) if found.fingerprint}
    of_buckets = [f"{bucket}:{version}" for bucket, version in versions.items()]
    own = next(iter(versions.values())) if len(versions) == 1 else fingerprint(of_buckets)
    version = DataVersion(metrics.fingerprint or own)
    keys = context.partition_keys if context.assets_def.partitions_def else []
    if len(keys) <= 1:
        of_bucket = {_BUCKET_ROWS: metrics.rows} if keys and table else {}
        return MaterializeResult(metadata={**totals, **of_bucket, DATA_VERSION: version.value}, data_version=version)
    counted = sorted({name for found in metrics.buckets.values() for name in found.counts})
    for key in keys:
        found = metrics.buckets.get(int(key)) or RunMetrics(fingerprint=ABSENT.fingerprint, counts_changes=False)
        of_bucket = {_BUCKET_ROWS: found.rows} if table else {}
        figures = {**dict.fromkeys(counted, 0), **_figures(found), **of_table, **of_bucket}
        context.add_asset_metadata({**figures, DATA_VERSION: found.fingerprint}, partition_key=key)
    context.log_event(AssetObservation(context.asset_key, "Totals of all buckets of the run.", metadata=totals))
    return MaterializeResult(data_version=version)


def run_totals(result: ExecuteInProcessResult) -> dict[str, Mapping[str, MetadataValue[Any]]]:
    """Return asset key → metadata of the whole run, in execution order."""
    found = {}
    for event in result.get_asset_materialization_events():
        found[event.materialization.asset_key.to_user_string()] = event.materialization.metadata
    for event in result.get_asset_observation_events():
        observation = event.asset_observation_data.asset_observation
        found[observation.asset_key.to_user_string()] = observation.metadata
    return found


def last_timed(instance: DagsterInstance, key: Sequence[str], counted: str, least: int) -> tuple[int, float] | None:
    """Return the count and the seconds of the newest run of an asset whose counter reached ``least``; None without one.

    The totals of a run of several buckets are in an observation, and those of any other run in its materialization.
    Buckets of one run overlap in time, so observations come first.
    """
    asset = AssetKey(list(key))
    observed = instance.fetch_observations(asset, _RUNS_LOOKED_AT).records
    made = instance.fetch_materializations(asset, _RUNS_LOOKED_AT).records
    for event in [*(it.asset_observation for it in observed), *(it.asset_materialization for it in made)]:
        metadata = event.metadata if event is not None else {}
        count, seconds = (metadata[name].value if name in metadata else None for name in (counted, "seconds"))
        if isinstance(count, int) and isinstance(seconds, float) and count >= least and seconds > 0:
            return count, seconds
    return None


def _figures(metrics: RunMetrics) -> dict[str, Any]:
    shown = {"preview": MetadataValue.md(metrics.preview)} if metrics.preview else {}
    return {**metrics.metadata(), **shown}


def s3_metadata(usage: Usage) -> dict[str, Any]:
    """Return totals as numbers, and a table by prefix and verb; without a governor, only its state."""
    if not usage.is_governed or not usage.is_known:
        return {"s3_governor": "off" if not usage.is_governed else "gone"}
    return {
        "s3_requests": int(usage.total("requests")),
        "s3_throttled": int(usage.total("throttled")),
        "s3_wasted_percent": usage.wasted_percent,
        "s3_waited_seconds": round(usage.total("waited_seconds"), 3),
        "s3_given_up": int(usage.total("given_up")),
        **({"s3_prefixes": MetadataValue.table([*map(_record, usage.prefixes)])} if usage.prefixes else {}),
    }


def _record(found: PrefixUsage) -> TableRecord:
    return TableRecord(
        {
            "prefix": f"{found.bucket}/{found.prefix}",
            "verb": found.verb,
            "requests": found.requests,
            "throttled": found.throttled,
            "wasted_percent": found.wasted_percent,
            "rate_per_second": found.rate,
            "waited_seconds": found.waited_seconds,
            "given_up": found.given_up,
            "slowest_seconds": found.slowest_seconds,
            "slowest_request": found.slowest,
        }
    )
