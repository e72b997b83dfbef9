"""The sensor that waits for batches of a language model: a run sends a batch, and another one takes its answers in."""

import datetime as dt
from typing import TYPE_CHECKING

from dagster import RunRequest, SensorResult, SkipReason, sensor

from pipelines.automation.sensors.reachability import skipped_while_unreachable
from pipelines.jobs.asset_jobs import BUCKET, WRITES_TAG
from resources.llm.batches.book import ENDED, RUNNING, Job, books
from resources.llm.resource import LlmResource
from resources.spend.resource import SpendResource

if TYPE_CHECKING:  # takes a second, which only those with batches should pay
    from resources.llm.batches.provider import BatchProvider

_INTERVAL_SECONDS = 120
_PATIENCE = dt.timedelta(minutes=12)
"""After so long a batch whose run died can be looked for at the provider."""


@sensor(
    job=BUCKET,
    minimum_interval_seconds=_INTERVAL_SECONDS,
    description="Starts a run of each account bucket whose batch at a provider of a language model has ended.",
)
@skipped_while_unreachable
def ended_batches(llm: LlmResource, spend: SpendResource) -> SensorResult | SkipReason:
    """Ask the provider about each open batch: one request each. Without batches it costs one listing."""
    waiting = [
        (scope, job, book.page()[1])
        for _, scope, book in books(spend.store)
        for job in book.page()[0].jobs.values()
        if llm.sends_batches and llm.url
    ]
    if not waiting:
        return SkipReason("No batch is open.")
    provider = llm.batch_provider()
    try:
        due = {scope: (job, now) for scope, job, now in waiting if is_due(provider, job, now)}
    finally:
        provider.close()
    requests = [
        # The hour is part of the key: a run that failed is requested again.
        RunRequest(
            f"batch/{job.name}/{job.state}/{job.looks}/{now:%Y-%m-%dT%H}",
            partition_key=scope,
            tags={WRITES_TAG: f"bucket {scope}"},
        )
        for scope, (job, now) in sorted(due.items())
    ]
    return SensorResult(requests) if requests else SkipReason(f"{len(waiting)} batches are not ready yet.")


def is_due(provider: "BatchProvider", job: Job, now: dt.datetime) -> bool:
    """Return whether a run can bring a job forward."""
    from resources.llm.completions import CallFailedError  # takes a second, which only those with batches should pay

    if job.state != RUNNING:
        return job.state == ENDED or job.age(now) > _PATIENCE
    try:
        return provider.batch(job.batch).is_ended
    except CallFailedError:
        return False
