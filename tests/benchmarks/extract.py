"""Measure extraction beside its peers: two million posts from the embedded Postgres, one process per reader.

Cippus writes raw Parquet to the embedded S3 behind its governor, ConnectorX through polars and dlt to the same S3
directly. The floor streams the rows by ADBC into one local file. Shares are of neighbours in a round.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console

from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource
from resources.wiring import s3_resource
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.extract_posts import database_of_posts
from tests.benchmarks.extract_reader import Job, Measured

LEAST_OF_FLOOR, LEAST_OF_PEERS = 0.7, 1.0
MOST_RSS_MB, MOST_RSS_GROWTH = 600.0, 1.1
OURS, FLOOR, PEERS = "cippus", "adbc", ("connectorx", "dlt")


@dataclass(frozen=True)
class Amounts:
    """Number of posts, and of rounds."""

    rows: int = 2_000_000
    rounds: int = 3


class ReaderError(RuntimeError):
    """A reader failed, or read a wrong number of rows."""


@dataclass(frozen=True)
class Readers:
    """Runs one reader after the other on a database."""

    stack: EmbeddedStack
    s3: S3Resource

    def run(self, way: str, dsn: str, rows: int) -> Measured:
        """Run one reader into a bucket or folder of its own, which is emptied afterwards. Raises ReaderError."""
        bucket = self.s3.model_copy(update={"bucket": f"bench-extract-{uuid4().hex[:12]}"})
        bucket.client.create_bucket(Bucket=bucket.bucket)
        try:
            with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
                return self._child(way, Job(dsn, folder, self._settings(bucket.bucket)), rows)
        finally:
            bucket.delete([item.key for item in bucket.list_objects("")])
            bucket.client.delete_bucket(Bucket=bucket.bucket)

    def _settings(self, bucket: str) -> dict[str, Any]:
        at = self.s3.connection
        governor = self.s3.governor
        return {
            "bucket": bucket,
            "endpoint_url": at.endpoint_url,
            "access_key_id": at.access_key_id,
            "secret_access_key": at.secret_access_key,
            "region": at.region,
            "governor": None if governor is None else governor.model_dump(),
        }

    def _child(self, way: str, job: Job, rows: int) -> Measured:
        # On standard input, because others can read a command line, and it holds the stack's passwords.
        command = [sys.executable, "-m", "tests.benchmarks.extract_reader", way]
        done = subprocess.run(command, input=json.dumps(asdict(job)), capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"Reading by {way} failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}"
            raise ReaderError(message)
        found = Measured(**json.loads(done.stdout.splitlines()[-1]))
        if found.rows != rows:
            message = f"Reading by {way} gave {found.rows:,} rows, expected {rows:,}."
            raise ReaderError(message)
        return found


def measure(home: Path, console: Console) -> BenchResult:
    """Run all readers in turn, three times, and Cippus on half of the rows."""
    return run(EmbeddedStack.read(home / "stack.json"), s3_resource(), Amounts(), console)


def run(stack: EmbeddedStack, s3: S3Resource, amounts: Amounts, console: Console) -> BenchResult:
    """Measure these amounts, in databases and buckets that are dropped afterwards."""
    readers = Readers(stack, s3)
    ways = [OURS, FLOOR, *(name for name in PEERS if find_spec(name) is not None)]
    found: dict[str, list[Measured]] = {way: [] for way in ways}
    half = amounts.rows // 2
    console.print(f"writing {half:,} posts into the embedded Postgres", highlight=False)
    with database_of_posts(stack, "bench_extract_half", half) as dsn:
        of_half = [readers.run(OURS, dsn, half) for _ in range(amounts.rounds)]
    console.print(f"writing {amounts.rows:,} posts into the embedded Postgres", highlight=False)
    with database_of_posts(stack, "bench_extract", amounts.rows) as dsn:
        for number in range(1, amounts.rounds + 1):
            for way in ways:
                console.print(f"round {number} of {amounts.rounds}: {way}", highlight=False)
                found[way].append(readers.run(way, dsn, amounts.rows))
    return _result(found, of_half)


def _result(found: dict[str, list[Measured]], of_half: list[Measured]) -> BenchResult:
    figures: dict[str, float] = {}
    for way, rounds in found.items():
        figures[f"{way}_rows_per_second"] = statistics.median(one.rows / one.seconds for one in rounds)
        figures[f"{way}_cpu_seconds"] = statistics.median(one.cpu_seconds for one in rounds)
        figures[f"{way}_peak_rss_mb"] = max(one.peak_rss_mb for one in rounds)
    figures["cippus_peak_rss_mb_half"] = max(one.peak_rss_mb for one in of_half)
    growth = figures["cippus_peak_rss_mb"] / figures["cippus_peak_rss_mb_half"]
    targets = {
        "peak_rss_mb": Target.at_most(MOST_RSS_MB, round(figures["cippus_peak_rss_mb"], 1)),
        "peak_rss_growth": Target.at_most(MOST_RSS_GROWTH, round(growth, 3)),
    }
    for peer, least in ((FLOOR, LEAST_OF_FLOOR), *((name, LEAST_OF_PEERS) for name in PEERS)):
        # A missing peer is a target unmet.
        pairs = zip(found[OURS], found.get(peer, []), strict=False)
        share = statistics.median([theirs.seconds / ours.seconds for ours, theirs in pairs] or [0.0])
        figures[f"share_of_{peer}"] = share
        targets[f"share_of_{peer}"] = Target(least, round(share, 3), share >= least)
    return BenchResult("extract", {name: round(value, 3) for name, value in figures.items()}, targets)
