"""When something runs by the clock. Off until somebody turns it on."""

from dagster import RunRequest, ScheduleEvaluationContext, schedule

from pipelines.jobs import EXTRACTION, all_buckets


@schedule(job=EXTRACTION, cron_schedule="0 * * * *", execution_timezone="UTC")
def hourly_extraction(context: ScheduleEvaluationContext) -> RunRequest:
    """Every hour; the key keeps a tick that fires twice from running twice. What follows, sensors ask for."""
    return RunRequest(run_key=context.scheduled_execution_time.isoformat(), tags=dict(all_buckets()))


SCHEDULES = [hourly_extraction]
