"""The upkeep of all lake tables, as a job: what it found and did is in its run's metadata."""

from dataclasses import asdict

from dagster import MetadataValue, OpExecutionContext, TableRecord, job, op

from assets.stages import TABLES
from resources.delta.maintenance import LakeUpkeep
from resources.delta.table import LakeResource


@op(description="Put fragmented buckets in order, and delete what no reader needs any more.")
def tidy_and_clean(context: OpExecutionContext, lake: LakeResource) -> None:
    """Every table in turn; a bucket below the thresholds costs nothing but the look at its table's log."""
    upkeep, records = LakeUpkeep(lake), []
    for spec in TABLES:
        tidied = upkeep.tidy(spec)
        deleted = upkeep.clean(spec)
        records.append(TableRecord({"table": spec.name, **asdict(tidied), "deleted_objects": deleted}))
        context.log.info("%s: %s buckets put in order, %s objects deleted", spec.name, tidied.buckets, deleted)
    context.add_output_metadata({"tables": MetadataValue.table(records)})


@job(description="Upkeep of the lake's tables: compaction where it is due, checkpoints, log clean-up and vacuum.")
def lake_maintenance() -> None:
    """One step: its cost is that of what is due."""
    tidy_and_clean()
