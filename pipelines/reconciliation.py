"""The job that compares all keys of the source with the lake's: hard deletes become tombstones, gaps are closed.

Belongs here: the job and its report; what it lands is merged when the lake is next brought up to date. Not here: the
comparison (assets/key_reconciliation.py), when it runs (schedules.py).
"""

from dataclasses import asdict
from datetime import timedelta

from dagster import AssetMaterialization, OpDefinition, OpExecutionContext, ResourceParam, job, op

from assets.asset import RETRIES, stopping_unless_transient
from assets.key_reconciliation import KeyReconciliation
from assets.lake import LAKE_TABLES
from assets.transforms.source_schema import SOURCE_TABLES, SourceTable
from resources.environments import bucket_count, clock_skew_seconds
from resources.failures import PermanentFailure
from resources.lake import LakeResource
from resources.quarantine import QuarantineResource
from resources.raw_store import RawStoreResource
from resources.source import LiveSource, Source


class SourceNotLiveError(PermanentFailure):
    """The configured source cannot be asked for all its keys."""


def _reconcile(table: SourceTable) -> OpDefinition:
    @op(name=f"reconcile_{table.name}", retry_policy=RETRIES)
    def reconcile(
        context: OpExecutionContext,
        source: ResourceParam[Source],
        raw_store: RawStoreResource,
        lake: LakeResource,
        quarantine: QuarantineResource,
    ) -> None:
        """One narrow scan of a table's keys; the window of what differs is a materialization of raw/*."""
        with stopping_unless_transient():
            if not isinstance(source, LiveSource):
                message = f"Keys of {source.name} cannot be compared, expected CIPPUS_SOURCE to be postgres."
                raise SourceNotLiveError(message)
            skew = timedelta(seconds=clock_skew_seconds())
            spec, count = LAKE_TABLES[table.name], bucket_count()
            found = KeyReconciliation(source, raw_store, lake, quarantine, table, spec, count, skew).run()
        counts = {name: value for name, value in asdict(found).items() if name != "window"}
        context.log.info("%s: %s", table.name, counts)
        rows = found.window.rows if found.window else 0
        metadata = {"rows": rows, "windows": int(found.window is not None), **counts}
        context.log_event(AssetMaterialization(["raw", table.name], metadata=metadata))

    return reconcile


@job(description="All keys of the source against the lake's: hard deletes become tombstones, missed rows are landed.")
def raw_key_reconciliation() -> None:
    """One op a table; they do not depend on one another."""
    for table in SOURCE_TABLES.values():
        _reconcile(table)()
