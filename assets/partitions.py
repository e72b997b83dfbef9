"""The one partition dimension: account buckets, shared by every stage that works account by account."""

from dagster import AssetExecutionContext, BackfillPolicy, StaticPartitionsDefinition

from resources.settings import bucket_count

BUCKETS = StaticPartitionsDefinition([str(bucket) for bucket in range(bucket_count())])

ALL_IN_ONE_RUN = BackfillPolicy.single_run()
"""The buckets that a run is asked for share one process and one start-up; a run may be asked for a single one."""


def buckets_of(context: AssetExecutionContext) -> list[int]:
    """The buckets that this run is to bring up to date, in order."""
    return sorted(int(key) for key in context.partition_keys)
