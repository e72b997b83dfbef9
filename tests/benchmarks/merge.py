"""Merging small windows into a large table, next to delta-rs' own merge, and into one ten times larger.

Each merge is measured in a process that did not build the table, on an S3 server of the bench's own; upkeep is in the
seconds. Nothing of it is kept.
"""

import json
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.local.s3_server import BUCKET, PORT_NAMES, S3Server
from pipelines.local.server_process import free_ports
from resources.cpu import available_cores
from resources.delta.commit import DataFile
from tests.benchmarks import BenchResult, Target
from tests.benchmarks.merge_table import CHANGED_ROWS, Place, commit_files

FILES, TIMES_LARGER, MERGES, NAIVE_MERGES = 5_000, 10, 20, 3
MOST_SECONDS, MOST_PEAK_MB, MOST_GROWTH = 4.0, 768.0, 1.5


class FailedRoundError(RuntimeError):
    """A measured process failed; the message has its last lines."""


@dataclass(frozen=True)
class Rounds:
    """Merges in a row: seconds, those of the process' own work, and peak memory of each."""

    seconds: Sequence[float]
    cpu_seconds: Sequence[float]
    peak_mb: Sequence[float]
    tidied: int

    @property
    def median(self) -> float:
        """Seconds of the median merge."""
        return statistics.median(self.seconds)

    def growth(self) -> float:
        """The last merge over the first."""
        return self.seconds[-1] / self.seconds[0]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """An S3 server in a folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
        home = Path(folder)
        (home / "logs").mkdir()
        ports = tuple(free_ports(len(PORT_NAMES)))
        server = S3Server(home, ports, secrets.token_hex(10), secrets.token_urlsafe(30))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def build(place: Place, console: Console) -> None:
    """Write the table's files in as many processes as there are cores, and commit them."""
    place.lake().create(place.spec)
    shares = available_cores()
    with ThreadPoolExecutor(shares) as pool:
        told = pool.map(lambda share: _child(place, f"write:{share}/{shares}", 0, 0), range(shares))
        files = [DataFile(**file) for of_share in told for file in of_share]
    commit_files(place, files)
    console.print(f"{place.table}: {len(files):,} files, {sum(file.rows for file in files):,} rows", highlight=False)


def rounds(place: Place, how: str, first: int, count: int) -> Rounds:
    """Merges in a row in a process of their own."""
    told = _child(place, how, first, count)
    return Rounds(
        [one["seconds"] for one in told],
        [one["cpu_seconds"] for one in told],
        [one["peak_mb"] for one in told],
        sum(one["tidied"] for one in told),
    )


def _child(place: Place, how: str, first: int, count: int) -> list[dict[str, Any]]:
    program = [sys.executable, "-m", "tests.benchmarks.merge_rounds", place.to_json(), how, str(first), str(count)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        told = "\n".join(done.stderr.splitlines()[-5:])
        message = f"merge_rounds {how} ended with {done.returncode}: {told}"
        raise FailedRoundError(message)
    return [json.loads(line) for line in done.stdout.splitlines()]


def measure_merges(console: Console, files: int, times: int, merges: int, naive: int) -> BenchResult:
    """Both tables; delta-rs merges into the smaller one, after ours."""
    with s3_server() as server:
        place = Place(BUCKET, server.endpoint, server.access_key_id, server.secret_access_key, "bench/posts", files)
        build(place, console)
        ours = rounds(place, "ours", 0, merges)
        console.print(f"median of {merges} merges: {ours.median:.2f} s", highlight=False)
        theirs = rounds(place, "naive", merges, naive)
        console.print(f"median of {naive} merges of delta-rs: {theirs.median:.2f} s", highlight=False)
        larger = replace(place, table="bench/larger", files=files * times)
        build(larger, console)
        many = rounds(larger, "ours", 0, merges)
    return result(files, ours, theirs, many)


def result(files: int, ours: Rounds, theirs: Rounds, larger: Rounds) -> BenchResult:
    """Figures and targets."""
    figures: dict[str, float] = {
        "files": files,
        "changed_rows": CHANGED_ROWS,
        "merges": len(ours.seconds),
        "merge_seconds_median": ours.median,
        "merge_seconds_mean": statistics.mean(ours.seconds),
        "merge_seconds_first": ours.seconds[0],
        "merge_seconds_last": ours.seconds[-1],
        "merge_seconds_most": max(ours.seconds),
        "merge_cpu_seconds_median": statistics.median(ours.cpu_seconds),
        "peak_mb": max(ours.peak_mb),
        "buckets_tidied": ours.tidied,
        "naive_seconds_median": theirs.median,
        "naive_peak_mb": max(theirs.peak_mb),
        "larger_seconds_median": larger.median,
        "larger_cpu_seconds_median": statistics.median(larger.cpu_seconds),
        "naive_cpu_seconds_median": statistics.median(theirs.cpu_seconds),
        "larger_seconds_mean": statistics.mean(larger.seconds),
        "larger_seconds_most": max(larger.seconds),
        "larger_peak_mb": max(larger.peak_mb),
        "last_over_first": ours.growth(),
        "larger_over_smaller": larger.median / ours.median,
    }
    rounded = {name: round(value, 3) for name, value in figures.items()}
    targets = {
        "merge_seconds_median": MOST_SECONDS,
        "peak_mb": MOST_PEAK_MB,
        "last_over_first": MOST_GROWTH,
        "larger_over_smaller": MOST_GROWTH,
    }
    return BenchResult("merge", rounded, {name: Target.at_most(most, rounded[name]) for name, most in targets.items()})


def measure(home: Path, console: Console) -> BenchResult:
    """5,000 files and 10 million rows; ``home`` is left alone."""
    del home
    return measure_merges(console, FILES, TIMES_LARGER, MERGES, NAIVE_MERGES)
