"""Schedules. They are off until somebody turns them on."""

from dagster import RunRequest, ScheduleDefinition, ScheduleEvaluationContext, schedule

from pipelines.jobs.asset_jobs import DAILY_CHECKS, EXTRACTION, all_buckets
from pipelines.jobs.lake_maintenance import lake_maintenance
from pipelines.jobs.raw_key_reconciliation import raw_key_reconciliation


@schedule(job=EXTRACTION, cron_schedule="0 * * * *", execution_timezone="UTC")
def hourly_extraction(context: ScheduleEvaluationContext) -> RunRequest:
    """Extract changes every hour; sensors start the runs downstream. The run key prevents a second run of a tick."""
    return RunRequest(run_key=context.scheduled_execution_time.isoformat(), tags=dict(all_buckets()))


daily_key_reconciliation = ScheduleDefinition(
    name="daily_key_reconciliation",
    job=raw_key_reconciliation,
    cron_schedule="20 3 * * *",
    execution_timezone="UTC",
    description="Finds hard-deleted and missed rows of the source, once a day. The next extraction merges them.",
)
nightly_maintenance = ScheduleDefinition(
    name="nightly_maintenance",
    job=lake_maintenance,
    cron_schedule="40 4 * * *",
    execution_timezone="UTC",
    description="Compacts, checkpoints and vacuums the lake's tables at night, when few runs write.",
)

daily_checks = ScheduleDefinition(
    name="daily_checks",
    job=DAILY_CHECKS,
    cron_schedule="45 5 * * *",
    execution_timezone="UTC",
    description="Runs the checks that do not run with their assets, once a day.",
)

SCHEDULES = [hourly_extraction, daily_key_reconciliation, nightly_maintenance, daily_checks]
