"""Compute only the stale buckets of an asset, and measure the changes."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.framework.logs import logging_bucket
from assets.framework.verdicts import Held
from assets.transforms.markdown import markdown_table
from resources.cpu import available_cores
from resources.delta.state import Entry, Intake, LedgerResource
from resources.delta.table import ABSENT, WHOLE, Changes, Contents, LakeResource, TableSpec, fingerprint, in_columns
from resources.settings import bucket_count

_RUN_KEY = "dagster/run_key"
_MOST_AT_ONCE = 2
_SECONDS_BETWEEN_LINES = 1.0
_ROWS_SHOWN, _CHARACTERS_SHOWN = 10, 80


@dataclass
class RunMetrics:
    """Metrics of one run, or of one bucket in it: rows and bytes of the result, rows skipped as unchanged, changes.

    ``counts`` are counters of the asset. ``notes`` are metadata of the run that are not sums over buckets.
    ``fingerprint`` is the data version of the result.
    ``buckets`` has the metrics of each bucket that the run looked at.
    ``counts_changes``: false for a bucket whose changes were counted for all buckets together. ``preview``: the first
    rows of a bucket that was computed, as Markdown. ``table_rows``: rows of the whole table, after a run of some of its
    buckets.
    """

    rows: int = 0
    size_bytes: int = 0
    skipped: int = 0
    buckets_skipped: int = 0
    changes: Changes = field(default_factory=Changes)
    counts: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    buckets: dict[int, "RunMetrics"] = field(default_factory=dict)
    counts_changes: bool = True
    preview: str = ""
    table_rows: int | None = None
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None

    def __iadd__(self, other: "RunMetrics") -> "RunMetrics":
        """Add the metrics of other buckets."""
        self.rows, self.size_bytes = self.rows + other.rows, self.size_bytes + other.size_bytes
        self.skipped, self.buckets_skipped = self.skipped + other.skipped, self.buckets_skipped + other.buckets_skipped
        self.changes = self.changes + other.changes
        self.counts.update(other.counts)
        self.notes |= other.notes
        self.buckets |= other.buckets
        return self

    def hold(self, found: Contents) -> None:
        """Set the result: its rows, bytes and fingerprint. The time of the metrics ends here."""
        self.rows, self.size_bytes, self.fingerprint = found.rows, found.size_bytes, found.fingerprint
        self.seconds = time.monotonic() - self.started

    def metadata(self) -> dict[str, Any]:
        """Return the figures as asset metadata; ``seconds`` is wall time."""
        seconds = time.monotonic() - self.started if self.seconds is None else self.seconds
        return {
            "rows": self.rows,
            "bytes": self.size_bytes,
            **(self._changes() | {"seconds": round(seconds, 3)} if self.counts_changes else {}),
            **dict(sorted(self.counts.items())),
        }

    def _changes(self) -> dict[str, Any]:
        return {
            "skipped": self.skipped + self.changes.unchanged,
            "buckets_skipped": self.buckets_skipped,
            "inserted": self.changes.inserted,
            "updated": self.changes.updated,
            "deleted": self.changes.deleted,
        }


@dataclass(frozen=True)
class Stage:
    """A derived asset: its name, its input tables, and a version that changes when its rule changes.

    A bucket of a partitioned input belongs to the same bucket of the output. An input without buckets counts whole, and
    so does every input of an output without buckets. Nothing is computed until all tables of ``awaits`` exist.
    """

    name: str
    inputs: tuple[TableSpec, ...]
    version: str = "1"
    partitioned: bool = True
    awaits: tuple[TableSpec, ...] = ()

    def input_fingerprints(self, lake: LakeResource, buckets: Sequence[int]) -> dict[int, str]:
        """Return bucket → fingerprint of all its inputs."""
        inputs = [(spec, lake.contents(spec)) for spec in self.inputs]
        return {
            bucket: fingerprint([self.version, *(part for found in inputs for part in self._parts(*found, bucket))])
            for bucket in buckets
        }

    def read(self, lake: LakeResource, bucket: int) -> dict[str, str]:
        """Return input table → fingerprint of what a bucket reads of it."""
        return {spec.name: fingerprint(self._parts(spec, lake.contents(spec), bucket)) for spec in self.inputs}

    def held_back(self, lake: LakeResource, ledger: LedgerResource, buckets: Sequence[int]) -> dict[int, str]:
        """Return bucket → why it must not be computed: a guarding check failed on its inputs, or a table is missing."""
        found: dict[int, str] = {}
        for spec in self.awaits:
            if lake.open(spec) is None:
                return dict.fromkeys(buckets, f"{spec.name} does not exist yet")
        held = Held(lake, ledger).read(self.inputs)
        for spec in self.inputs:
            failed = held.get(spec.name, {})
            for bucket in buckets:
                is_own = self.partitioned and spec.partitioned
                for bad in sorted(failed.keys() & {bucket} if is_own else failed):
                    place = "" if bad == WHOLE else f" in bucket {bad}"
                    found[bucket] = f"{failed[bad]} failed on {spec.name}{place}"
        return found

    def _parts(self, spec: TableSpec, contents: Mapping[int, Contents], bucket: int) -> Iterable[str]:
        if self.partitioned and spec.partitioned:
            return [contents.get(bucket, ABSENT).fingerprint]
        return [f"{key}:{found.fingerprint}" for key, found in sorted(contents.items())]


def refresh(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    stage: Stage,
    contents: Callable[[Sequence[int]], Mapping[int, Contents]],
    bring_up_to_date: Callable[[int, RunMetrics], Changes],
    threads: int = 1,
) -> RunMetrics:
    """Bring every stale bucket up to date and record it. Skip the others without reading a row.

    ``contents`` returns the contents of some buckets of the output, and may include others. With more than one of
    ``threads``, both functions are called from as many threads, each for another bucket.

    A bucket is current while its inputs and its output have the recorded fingerprints. The record is written after the
    output, so a crash in between costs a recomputation that changes nothing. A bucket stays as it is while
    `Stage.held_back` names a reason.
    """
    total = RunMetrics()
    with lake.steady(), ThreadPoolExecutor(max_workers=threads) as pool:
        buckets = sorted(int(key) for key in context.partition_keys) if stage.partitioned else [WHOLE]
        inputs = stage.input_fingerprints(lake, buckets)
        entries, outputs = ledger.entries(stage.name, buckets), contents(buckets)
        held = cache(lambda: stage.held_back(lake, ledger, buckets))  # asked only if a bucket is stale

        def refreshed(bucket: int) -> RunMetrics:
            found, metrics = outputs.get(bucket, ABSENT), RunMetrics()
            if entries.get(bucket) == Entry(inputs[bucket], found.fingerprint):
                metrics.skipped, metrics.buckets_skipped = found.rows, 1
            elif reason := held().get(bucket):
                context.log.error("%s: %s is held back: %s.", stage.name, _named(bucket), reason)
                metrics.skipped, metrics.counts["buckets_held"] = found.rows, 1
            else:
                with logging_bucket(bucket):
                    metrics.changes = bring_up_to_date(bucket, metrics)
                    found = contents([bucket]).get(bucket, ABSENT)
                    entry = Entry(inputs[bucket], found.fingerprint, stage.read(lake, bucket))
                    ledger.record(stage.name, bucket, entry)
                    context.log.info("%s: bucket %s has %s", stage.name, bucket, metrics.changes)
            metrics.hold(found)
            return metrics

        logged = time.monotonic()
        done = pool.map(refreshed, buckets) if threads > 1 else map(refreshed, buckets)
        for number, (bucket, metrics) in enumerate(zip(buckets, done, strict=True), 1):
            total += metrics
            total.buckets[bucket] = metrics
            is_news = number == len(buckets) and total.buckets_skipped < number
            if is_news or time.monotonic() - logged > _SECONDS_BETWEEN_LINES:
                logged = time.monotonic()
                message = "%s: %s of %s buckets are up to date, with %s rows"
                context.log.info(message, stage.name, number, len(buckets), f"{total.rows:,}")
        if stage.partitioned and len(buckets) < (count := bucket_count()):
            total.table_rows = sum(found.rows for found in contents(range(count)).values())
    return total


def _named(bucket: int) -> str:
    return "the table" if bucket == WHOLE else f"bucket {bucket}"


def bucket_threads() -> int:
    """Return the number of threads for `refresh`. One bucket computes while another waits for S3.

    Each thread has a whole bucket in memory.
    """
    return min(_MOST_AT_ONCE, available_cores())


def refresh_table(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    stage: Stage,
    spec: TableSpec,
    compute: Callable[[int | None, pl.DataFrame, RunMetrics], pl.DataFrame],
) -> RunMetrics:
    """Refresh a Delta table, a few buckets at the same time.

    ``compute`` gets a bucket and its current rows, and returns its desired rows. Only differences are written.
    """

    def bring_up_to_date(bucket: int, metrics: RunMetrics) -> Changes:
        within = None if bucket == WHOLE else bucket
        current = lake.bucket_rows(spec, within)
        desired = compute(within, in_columns(spec, current), metrics)
        metrics.preview = preview(spec, desired)
        return lake.sync(spec, desired, within, current)

    return refresh(context, lake, ledger, stage, partial(lake.contents, spec), bring_up_to_date, bucket_threads())


def preview(spec: TableSpec, rows: pl.DataFrame) -> str:
    """Return the first rows of a table as Markdown, without lists and without personal data."""
    shown = [
        name
        for name, column in spec.columns.items()
        if not column.personal and name in rows.columns and not pa.types.is_list(column.type)
    ]
    return markdown_table(rows.head(_ROWS_SHOWN).select(shown), _CHARACTERS_SHOWN) if shown and rows.height else ""


def record_intake(context: AssetExecutionContext, ledger: LedgerResource, asset: str, taken: str) -> None:
    """Record the digest of the dropped files that a run took in. Call it last.

    A run that a sensor requested is always recorded, so that the sensor's next request has another run key. Another run
    without new files writes nothing.
    """
    if taken != ledger.intake(asset).digest or _RUN_KEY in context.run.tags:
        ledger.record_intake(asset, Intake(taken, context.run.run_id))
