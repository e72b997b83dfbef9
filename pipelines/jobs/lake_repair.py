"""The job that makes the tables of the lake what their windows in raw/* say, after another engine changed them."""

from dagster import OpDefinition, OpExecutionContext, job, op

from assets.framework.asset import RETRIES, stopping_unless_transient
from assets.lake import LAKE_TABLES
from assets.lake.comparison import LakeComparison
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from resources.delta.table import LakeResource
from resources.raw.store import RawStoreResource


def _repair(table: SourceTable) -> OpDefinition:
    @op(name=f"repair_{table.name}", retry_policy=RETRIES, pool=LAKE_TABLES[table.name].name)  # that of the asset
    def repair(context: OpExecutionContext, raw_store: RawStoreResource, lake: LakeResource) -> None:
        """Compare a table with its windows, and write what differs."""
        with stopping_unless_transient(context.retry_number):
            found = LakeComparison(table, raw_store, lake).repair()
        context.log.info("%s: %s rows compared. %s", found.table, f"{found.rows:,}", found.said() or "Nothing differs.")
        context.add_output_metadata({"rows": found.rows, "repaired": found.found, **found.problems})

    return repair


@job(description="Compares the lake's tables with raw/*, and writes what differs. Extracts nothing.")
def lake_repair() -> None:
    """Repair each table in an independent op."""
    for table in SOURCE_TABLES.values():
        _repair(table)()
