"""The partition dimension of the lineage: account buckets."""

from dagster import AssetExecutionContext, BackfillPolicy, StaticPartitionsDefinition

from resources.settings import bucket_count

BUCKETS = StaticPartitionsDefinition([str(bucket) for bucket in range(bucket_count())])

ALL_IN_ONE_RUN = BackfillPolicy.single_run()
"""All buckets of a backfill share one run and its start-up."""


def buckets_of(context: AssetExecutionContext) -> list[int]:
    """Return the buckets of a run, in order."""
    return sorted(int(key) for key in context.partition_keys)
