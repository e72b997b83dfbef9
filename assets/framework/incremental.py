"""Doing only what changed: which buckets are stale, and what an asset reports about the rest."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from resources.cpu import available_cores
from resources.delta.state import Entry, Intake, LedgerResource
from resources.delta.table import ABSENT, WHOLE, Changes, Contents, LakeResource, TableSpec, fingerprint

_RUN_KEY = "dagster/run_key"
_MOST_AT_ONCE = 2
_SECONDS_BETWEEN_LINES = 1.0


@dataclass
class Tally:
    """What one materialization did: rows and bytes that stand, rows skipped as unchanged, changes, counts."""

    rows: int = 0
    size_bytes: int = 0
    skipped: int = 0
    buckets_skipped: int = 0
    changes: Changes = field(default_factory=Changes)
    counts: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of_current(cls, found: Contents) -> "Tally":
        """Of a bucket that was not looked into."""
        return cls(found.rows, found.size_bytes, skipped=found.rows, buckets_skipped=1)

    def __iadd__(self, other: "Tally") -> "Tally":
        """Take in what another did, of other buckets."""
        self.rows, self.size_bytes = self.rows + other.rows, self.size_bytes + other.size_bytes
        self.skipped, self.buckets_skipped = self.skipped + other.skipped, self.buckets_skipped + other.buckets_skipped
        self.changes = self.changes + other.changes
        self.counts.update(other.counts)
        return self

    def result(self) -> MaterializeResult[None]:
        """The tally as asset metadata; ``seconds`` is wall time."""
        return MaterializeResult(
            metadata={
                "rows": self.rows,
                "bytes": self.size_bytes,
                "skipped": self.skipped + self.changes.unchanged,
                "buckets_skipped": self.buckets_skipped,
                "inserted": self.changes.inserted,
                "updated": self.changes.updated,
                "deleted": self.changes.deleted,
                "seconds": round(time.monotonic() - self.started, 3),
                **dict(sorted(self.counts.items())),
            }
        )


@dataclass(frozen=True)
class Stage:
    """A derived asset: its name, the tables that it reads, and a version that changes when its rule does.

    A bucket of a partitioned input counts for the same bucket of the output; an input without buckets, or any
    input of an output without buckets, counts whole.
    """

    name: str
    inputs: tuple[TableSpec, ...]
    version: str = "1"
    partitioned: bool = True

    def input_fingerprints(self, lake: LakeResource, buckets: Sequence[int]) -> dict[int, str]:
        """Bucket → fingerprint of everything that its rows are made from."""
        held = [lake.contents(spec) for spec in self.inputs]
        return {
            bucket: fingerprint(
                [self.version, *(part for spec, found in zip(self.inputs, held, strict=True)
                                 for part in self._parts(spec, found, bucket))]
            )
            for bucket in buckets
        }  # fmt: skip

    def _parts(self, spec: TableSpec, held: Mapping[int, Contents], bucket: int) -> Iterable[str]:
        if self.partitioned and spec.partitioned:
            return [held.get(bucket, ABSENT).fingerprint]
        return [f"{key}:{contents.fingerprint}" for key, contents in sorted(held.items())]


def refresh(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    stage: Stage,
    contents: Callable[[Sequence[int]], Mapping[int, Contents]],
    bring_up_to_date: Callable[[int, Tally], Changes],
    threads: int = 1,
) -> Tally:
    """Bring every stale bucket up to date and record it; skip the others without reading a row.

    ``contents`` says what some buckets of the output hold; it may say more. With ``threads``, that and
    ``bring_up_to_date`` are called from as many threads, for one bucket each, with a tally of its own.

    A bucket is current while its inputs have the fingerprint that was recorded and its output is what was left.
    The record is written after the output, so a crash in between costs a recomputation that changes nothing.
    """
    total = Tally()
    with lake.steady():
        buckets = sorted(int(key) for key in context.partition_keys) if stage.partitioned else [WHOLE]
        refreshing = _Refreshing(ledger, stage, contents, bring_up_to_date, stage.input_fingerprints(lake, buckets))
        for tally in refreshing.run(context, buckets, threads):
            total += tally
    return total


@dataclass
class _Refreshing:
    """One stage's buckets, as ``refresh`` was asked for them."""

    ledger: LedgerResource
    stage: Stage
    contents: Callable[[Sequence[int]], Mapping[int, Contents]]
    bring_up_to_date: Callable[[int, Tally], Changes]
    inputs: Mapping[int, str]

    def run(self, context: AssetExecutionContext, buckets: Sequence[int], threads: int) -> Iterator[Tally]:
        """What was done about each bucket, in order; told about now and then."""
        entries, held = self.ledger.entries(self.stage.name, buckets), self.contents(buckets)

        def done(bucket: int) -> Tally:
            found = held.get(bucket, ABSENT)
            is_current = entries.get(bucket) == Entry(self.inputs[bucket], found.fingerprint)
            return Tally.of_current(found) if is_current else self._made(bucket)

        told, rows = time.monotonic(), 0
        with ThreadPoolExecutor(max_workers=threads) as pool:
            for number, tally in enumerate(pool.map(done, buckets) if threads > 1 else map(done, buckets), start=1):
                rows += tally.rows
                if number == len(buckets) or time.monotonic() - told > _SECONDS_BETWEEN_LINES:
                    told = time.monotonic()
                    message = "%s: %s of %s buckets are up to date, %s rows stand"
                    context.log.info(message, self.stage.name, number, len(buckets), f"{rows:,}")
                yield tally

    def _made(self, bucket: int) -> Tally:
        tally = Tally()
        tally.changes = self.bring_up_to_date(bucket, tally)
        found = self.contents([bucket]).get(bucket, ABSENT)
        self.ledger.record(self.stage.name, bucket, Entry(self.inputs[bucket], found.fingerprint))
        tally.rows, tally.size_bytes = found.rows, found.size_bytes
        return tally


def at_once() -> int:
    """How many buckets of a stage are made at a time, each in memory whole: one waits for S3, the other computes."""
    return min(_MOST_AT_ONCE, available_cores())


def refresh_table(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    stage: Stage,
    spec: TableSpec,
    compute: Callable[[int | None, Tally], pl.DataFrame],
) -> MaterializeResult[None]:
    """``refresh`` for a Delta table: ``compute`` gives a bucket's desired rows, and only differences are written.

    A few buckets are computed at a time, each in a thread.
    """

    def bring_up_to_date(bucket: int, tally: Tally) -> Changes:
        within = None if bucket == WHOLE else bucket
        return lake.sync(spec, compute(within, tally), within)

    def contents(buckets: Sequence[int]) -> Mapping[int, Contents]:
        return lake.contents(spec, buckets)

    return refresh(context, lake, ledger, stage, contents, bring_up_to_date, at_once()).result()


def record_intake(context: AssetExecutionContext, ledger: LedgerResource, asset: str, taken: str) -> None:
    """Record what a run took in of the dropped files, as a digest; last of all.

    A run that a sensor asked for is recorded whatever it found: the sensor's next request has another key then. Another
    run that found nothing new writes nothing.
    """
    if taken != ledger.intake(asset).digest or _RUN_KEY in context.run.tags:
        ledger.record_intake(asset, Intake(taken, context.run.run_id))
