"""The job that compares all keys of the source with the lake: it records hard deletes and extracts missed rows."""

from collections import Counter
from dataclasses import asdict
from datetime import timedelta

from dagster import AssetMaterialization, Config, OpDefinition, OpExecutionContext, ResourceParam, job, op

from assets.framework.asset import RETRIES, stopping_unless_transient
from assets.lake import LAKE_TABLES
from assets.raw.key_reconciliation import KeyReconciliation
from assets.raw.windows import keeping
from assets.transforms.source.key_comparison import VanishedLimit
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.errors import InputError
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.settings import bucket_count, clock_skew_seconds
from resources.sources.protocol import LiveSource, Source


class ReconciliationConfig(Config):
    """Limits on the keys that may vanish at once. ``allow_vanished`` lifts them for one run."""

    allow_vanished: bool = False
    max_vanished_share: float = VanishedLimit.share
    max_vanished_keys: int = VanishedLimit.keys


def _reconcile(table: SourceTable) -> OpDefinition:
    @op(name=f"reconcile_{table.name}", retry_policy=RETRIES, pool=f"raw/{table.name}")  # that of the asset
    def reconcile(
        context: OpExecutionContext,
        config: ReconciliationConfig,
        source: ResourceParam[Source],
        raw_store: RawStoreResource,
        lake: LakeResource,
        quarantine: QuarantineResource,
        erasures: ErasureResource,
    ) -> None:
        """Scan a table's keys, and land one window with the differences."""
        erased = Counter[str]()
        with stopping_unless_transient(context.retry_number):
            if not isinstance(source, LiveSource):
                raise InputError(f"Keys of {source.name} cannot be compared; set CIPPUS_SOURCE to postgres.")
            skew = timedelta(seconds=clock_skew_seconds())
            spec, count = LAKE_TABLES[table.name], bucket_count()
            keep = keeping(erasures.tombstones(), erased)
            limit = VanishedLimit(config.max_vanished_share, config.max_vanished_keys)
            found = KeyReconciliation(
                *(source, raw_store, lake, quarantine, table, spec, count, skew, keep),
                limit=None if config.allow_vanished else limit,
            ).run_guarded()
        counts = {name: value for name, value in asdict(found).items() if name != "window"} | dict(erased)
        context.log.info("%s: %s", table.name, counts)
        rows = found.window.rows if found.window else 0
        metadata = {"rows": rows, "windows": int(found.window is not None), **counts}
        context.log_event(AssetMaterialization(["raw", table.name], metadata=metadata))

    return reconcile


@job(description="Compares all keys of the source with the lake. Marks hard-deleted rows, and extracts missed rows.")
def raw_key_reconciliation() -> None:
    """Reconcile each table in an independent op."""
    for table in SOURCE_TABLES.values():
        _reconcile(table)()
