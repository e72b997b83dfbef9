"""Doing only what changed: which buckets are stale, and what an asset reports about the rest.

Belongs here: the comparison of fingerprints and the shape of metadata. Not here: what any stage computes.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from resources.lake import ABSENT, WHOLE, Changes, Contents, LakeResource, TableSpec, fingerprint
from resources.ledger import Entry, Intake, LedgerResource

_RUN_KEY = "dagster/run_key"


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
) -> Tally:
    """Bring every stale bucket up to date and record it; skip the others without reading a row.

    ``contents`` says what some buckets of the output hold; it may say more.

    A bucket is current while its inputs have the fingerprint that was recorded and its output is what was left.
    The record is written after the output, so a crash in between costs a recomputation that changes nothing.
    """
    with lake.steady():
        return _refreshed(context, lake, ledger, stage, contents, bring_up_to_date)


def _refreshed(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    stage: Stage,
    contents: Callable[[Sequence[int]], Mapping[int, Contents]],
    bring_up_to_date: Callable[[int, Tally], Changes],
) -> Tally:
    tally = Tally()
    buckets = sorted(int(key) for key in context.partition_keys) if stage.partitioned else [WHOLE]
    inputs = stage.input_fingerprints(lake, buckets)
    entries, held = ledger.entries(stage.name, buckets), contents(buckets)
    for bucket in buckets:
        found = held.get(bucket, ABSENT)
        if entries.get(bucket) == Entry(inputs[bucket], found.fingerprint):
            tally.skipped += found.rows
            tally.buckets_skipped += 1
        else:
            tally.changes += bring_up_to_date(bucket, tally)
            found = contents([bucket]).get(bucket, ABSENT)
            ledger.record(stage.name, bucket, Entry(inputs[bucket], found.fingerprint))
            context.log.info("%s bucket %s: %s rows stand", stage.name, bucket, found.rows)
        tally.rows += found.rows
        tally.size_bytes += found.size_bytes
    return tally


def refresh_table(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    stage: Stage,
    spec: TableSpec,
    compute: Callable[[int | None, Tally], pl.DataFrame],
) -> MaterializeResult[None]:
    """``refresh`` for a Delta table: ``compute`` gives a bucket's desired rows, and only differences are written."""

    def bring_up_to_date(bucket: int, tally: Tally) -> Changes:
        within = None if bucket == WHOLE else bucket
        return lake.sync(spec, compute(within, tally), within)

    return refresh(context, lake, ledger, stage, lambda _: lake.contents(spec), bring_up_to_date).result()


def record_intake(context: AssetExecutionContext, ledger: LedgerResource, asset: str, taken: str) -> None:
    """Record what a run took in of the dropped files, as a digest; last of all.

    A run that a sensor asked for is recorded whatever it found: the sensor's next request has another key then. Another
    run that found nothing new writes nothing.
    """
    if taken != ledger.intake(asset).digest or _RUN_KEY in context.run.tags:
        ledger.record_intake(asset, Intake(taken, context.run.run_id))
