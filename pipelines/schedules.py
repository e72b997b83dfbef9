"""When the lineage runs by itself. Off until somebody turns it on."""

from dagster import RunRequest, ScheduleEvaluationContext, schedule

from pipelines.jobs import LINEAGE, all_buckets


@schedule(job=LINEAGE, cron_schedule="0 * * * *", execution_timezone="UTC")
def hourly_lineage(context: ScheduleEvaluationContext) -> RunRequest:
    """Every hour; the key keeps a tick that fires twice from running twice."""
    return RunRequest(run_key=context.scheduled_execution_time.isoformat(), tags=dict(all_buckets()))


SCHEDULES = [hourly_lineage]
