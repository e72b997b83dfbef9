"""When something runs by the clock. Off until somebody turns it on."""

from dagster import RunRequest, ScheduleDefinition, ScheduleEvaluationContext, schedule

from pipelines.jobs.asset_jobs import EXTRACTION, all_buckets
from pipelines.jobs.lake_maintenance import lake_maintenance
from pipelines.jobs.raw_key_reconciliation import raw_key_reconciliation


@schedule(job=EXTRACTION, cron_schedule="0 * * * *", execution_timezone="UTC")
def hourly_extraction(context: ScheduleEvaluationContext) -> RunRequest:
    """Every hour; the key keeps a tick that fires twice from running twice. What follows, sensors ask for."""
    return RunRequest(run_key=context.scheduled_execution_time.isoformat(), tags=dict(all_buckets()))


daily_key_reconciliation = ScheduleDefinition(
    name="daily_key_reconciliation",
    job=raw_key_reconciliation,
    cron_schedule="20 3 * * *",
    execution_timezone="UTC",
    description="Hard deletes leave no trace but the missing key; what is found, the next extraction merges.",
)
nightly_maintenance = ScheduleDefinition(
    name="nightly_maintenance",
    job=lake_maintenance,
    cron_schedule="40 4 * * *",
    execution_timezone="UTC",
    description="Compaction where it is due, checkpoints, log clean-up and vacuum, while few write.",
)

SCHEDULES = [hourly_extraction, daily_key_reconciliation, nightly_maintenance]
