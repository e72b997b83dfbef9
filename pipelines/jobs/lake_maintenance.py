"""The job that maintains all lake tables. Its run's metadata has the result for each table."""

from dataclasses import asdict

from dagster import MetadataValue, OpExecutionContext, TableRecord, job, op

from assets.stages import TABLES
from resources.delta.maintenance import LakeMaintenance
from resources.delta.table import LakeResource


@op(description="Compact fragmented buckets, and delete files and log entries that are older than the retention.")
def compact_and_clean(context: OpExecutionContext, lake: LakeResource) -> None:
    """Maintain every table. For a bucket below the thresholds only the log is read."""
    maintenance, records = LakeMaintenance(lake), []
    for spec in TABLES:
        compacted, deleted = maintenance.compact(spec), maintenance.clean(spec)
        records.append(TableRecord({"table": spec.name, **asdict(compacted), "deleted_objects": deleted}))
        context.log.info("%s: %s buckets compacted, %s objects deleted", spec.name, compacted.buckets, deleted)
    context.add_output_metadata({"tables": MetadataValue.table(records)})


@job(description="Maintain the lake's tables: compaction where it is due, checkpoints, log clean-up and vacuum.")
def lake_maintenance() -> None:
    """Run the maintenance as one step."""
    compact_and_clean()
