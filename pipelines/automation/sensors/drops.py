"""Sensors of dropped files: labels, audience reports and rejected rows, each under its prefix of landing/."""

from collections.abc import Callable
from dataclasses import dataclass

from dagster import RunRequest, SensorDefinition, SensorEvaluationContext, SensorResult, SkipReason, sensor

from assets import audience
from assets.labels import votes as labels
from assets.marts.tables import TOTALLING
from assets.quarantine import QUARANTINE, collecting
from assets.transforms.source.arrivals import Sweep, request_key
from pipelines.automation.sensors.reachability import skipped_while_unreachable
from pipelines.jobs.asset_jobs import ACROSS_BUCKETS, AUDIENCE, QUARANTINED, all_buckets
from resources.delta.state import LedgerResource
from resources.delta.table import WHOLE, LakeResource
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import ListingMarkError, S3Object, S3Resource

PAGE_KEYS = 1_000
_INTERVAL_SECONDS = 30
_WAITING = "The first load is not complete: its runs of buckets, and the one across buckets, read these files too."
"""Before it, a run of its own would write marts that the first load writes again."""


@dataclass(frozen=True)
class Landing:
    """A drop folder: its prefix, the filter of its files, the version of the rule that reads them, and the asset."""

    prefix: str
    counts: Callable[[S3Object], bool]
    rule: Callable[[], str]
    asset: str


def _sensor(name: str, landing: Landing, job_name: str, description: str) -> SensorDefinition:
    @sensor(name=name, job_name=job_name, minimum_interval_seconds=_INTERVAL_SECONDS, description=description)
    @skipped_while_unreachable
    def drops(context: SensorEvaluationContext, s3: S3Resource, ledger: LedgerResource) -> SensorResult | SkipReason:
        if not ledger.entries(TOTALLING.name, [WHOLE]):
            return SkipReason(_WAITING)
        return look(context.cursor, landing, s3, ledger)

    return drops


def look(cursor: str | None, landing: Landing, s3: S3Resource, ledger: LedgerResource) -> SensorResult:
    """List the next page. After the last page, request a run if the files differ from those taken in."""
    sweep = Sweep.read(cursor)
    try:
        objects, mark = s3.list_page(landing.prefix, sweep.page, PAGE_KEYS)
    except ListingMarkError as error:
        return _skip(Sweep(), f"{error} The sweep begins anew.")
    swept = sweep.with_page([item for item in objects if landing.counts(item)], mark, landing.rule())
    if mark:
        return _skip(swept, f"{swept.seen:,} files of {landing.prefix} are looked at so far.")
    intake = ledger.intake(landing.asset)
    key = request_key(swept.digest, intake.digest, intake.run_id)
    if key is None:
        return _skip(Sweep(), f"All {swept.seen:,} files of {landing.prefix} are taken in.")
    return SensorResult([RunRequest(run_key=key, tags=dict(all_buckets()))], cursor=Sweep().written())


def _skip(sweep: Sweep, reason: str) -> SensorResult:
    return SensorResult(skip_reason=SkipReason(reason), cursor=sweep.written())


LABELS = Landing(labels.LANDING, labels.is_label_file, labels.label_rule, labels.VOTES.name)
REPORTS = Landing(audience.LANDING, audience.is_report, audience.report_rule, audience.REPORTS.name)

label_drops = _sensor(
    "label_drops",
    LABELS,
    ACROSS_BUCKETS.name,
    "Starts a run when label files are added, changed or deleted: updates labels and thresholds.",
)
audience_drops = _sensor(
    "audience_drops", REPORTS, AUDIENCE.name, "Starts a run when audience reports are added, changed or deleted."
)


@sensor(
    name="quarantine_drops",
    job=QUARANTINED,
    minimum_interval_seconds=_INTERVAL_SECONDS,
    description="Starts a run when a stage has landed rejected rows under landing/quarantine/.",
)
@skipped_while_unreachable
def quarantine_drops(
    _context: SensorEvaluationContext, quarantine: QuarantineResource, ledger: LedgerResource, lake: LakeResource
) -> SensorResult | SkipReason:
    """Compare the files with those that quarantine/rows was collected from. Costs one listing."""
    landed = collecting(quarantine).input_fingerprints(lake, [WHOLE])[WHOLE]
    entry = ledger.entries(QUARANTINE.name, [WHOLE]).get(WHOLE)
    if entry is not None and entry.inputs == landed:
        return SkipReason("All rejected rows are collected.")
    # With the earlier state in the key, files that come back ask again.
    return SensorResult([RunRequest(run_key=f"{entry.inputs if entry else 'none'}/{landed}")])
