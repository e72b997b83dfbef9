"""Measure merges of small windows into a large table, beside delta-rs' merge, and into a table ten times larger.

delta-rs merges in two ways: as in its documentation (``naive``), and with the changed keys and buckets as literals in
its predicate (``literal``). A process that did not build the table measures the merges. Seconds include maintenance,
except for ``naive``. The S3 server belongs to the bench, and nothing is kept.
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
ROUNDS = 120
"""Merges through which both writers are compared: delta-rs' merge replaces many small files by fewer wide ones, so its
cost grows with the merges before."""
MOST_SECONDS, MOST_PEAK_MB, MOST_GROWTH = 4.0, 768.0, 1.5


class FailedRoundError(RuntimeError):
    """A measured process failed. The message has its last lines."""


@dataclass(frozen=True)
class Rounds:
    """Consecutive merges: seconds, CPU seconds of the process, and peak memory of each; buckets compacted."""

    seconds: Sequence[float]
    cpu_seconds: Sequence[float]
    peak_mb: Sequence[float]
    compacted: int

    @property
    def median(self) -> float:
        """Return the seconds of the median merge."""
        return statistics.median(self.seconds)

    def growth(self) -> float:
        """Return the ratio of the last merge to the first."""
        return self.seconds[-1] / self.seconds[0]

    def __add__(self, later: "Rounds") -> "Rounds":
        return Rounds(
            [*self.seconds, *later.seconds],
            [*self.cpu_seconds, *later.cpu_seconds],
            [*self.peak_mb, *later.peak_mb],
            self.compacted + later.compacted,
        )


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Yield an S3 server in a temporary folder."""
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
    """Write the table's files, with a process per core, and commit them."""
    place.lake().create(place.spec)
    shares = available_cores()
    with ThreadPoolExecutor(shares) as pool:
        written = pool.map(lambda share: child(place, f"write:{share}/{shares}", 0, 0), range(shares))
        files = [DataFile(**file) for of_share in written for file in of_share]
    commit_files(place, files)
    console.print(f"{place.table}: {len(files):,} files, {sum(file.rows for file in files):,} rows", highlight=False)


def rounds(place: Place, how: str, first: int, count: int) -> Rounds:
    """Merge windows ``first`` to ``first + count - 1`` in a process of their own."""
    measured = child(place, how, first, count)
    return Rounds(
        [one["seconds"] for one in measured],
        [one["cpu_seconds"] for one in measured],
        [one["peak_mb"] for one in measured],
        sum(one["compacted"] for one in measured),
    )


def child(place: Place, how: str, first: int, count: int) -> list[dict[str, Any]]:
    """Run ``merge_rounds`` in a process, and return what it prints."""
    program = [sys.executable, "-m", "tests.benchmarks.merge_rounds", place.to_json(), how, str(first), str(count)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        last_lines = "\n".join(done.stderr.splitlines()[-5:])
        message = f"merge_rounds {how} ended with exit code {done.returncode}: {last_lines}"
        raise FailedRoundError(message)
    return [json.loads(line) for line in done.stdout.splitlines()]


def measure_merges(
    console: Console, files: int, times: int, merges: int, naive: int, rounds_compared: int = ROUNDS
) -> BenchResult:
    """Build the tables and measure all merges."""
    with s3_server() as server:
        place = Place(BUCKET, server.endpoint, server.access_key_id, server.secret_access_key, "bench/posts", files)
        build(place, console)
        ours = rounds(place, "ours", 0, merges)
        console.print(f"median of {merges} merges: {ours.median:.2f} s", highlight=False)
        extra = max(0, rounds_compared - merges)
        compared = ours + rounds(place, "ours", merges, extra) if extra else ours
        theirs = rounds(place, "naive", merges + extra, naive)
        console.print(f"median of {naive} merges of delta-rs: {theirs.median:.2f} s", highlight=False)
        literal_place = replace(place, table="bench/literal")
        build(literal_place, console)
        literal = rounds(literal_place, "literal", 0, rounds_compared)
        console.print(
            f"median of {rounds_compared} merges of delta-rs by literals: {literal.median:.2f} s", highlight=False
        )
        larger = replace(place, table="bench/larger", files=files * times)
        build(larger, console)
        many = rounds(larger, "ours", 0, merges)
    return result(files, ours, theirs, many, compared, literal)


def result(files: int, ours: Rounds, theirs: Rounds, larger: Rounds, compared: Rounds, literal: Rounds) -> BenchResult:
    """Return figures and targets. ``compared`` and ``literal`` are the same windows, merged by both writers."""
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
        "buckets_tidied": ours.compacted,
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
        "rounds_compared": len(literal.seconds),
        "compared_seconds_median": compared.median,
        "compared_seconds_most": max(compared.seconds),
        "compared_peak_mb": max(compared.peak_mb),
        "literal_seconds_median": literal.median,
        "literal_seconds_most": max(literal.seconds),
        "literal_cpu_seconds_median": statistics.median(literal.cpu_seconds),
        "literal_peak_mb": max(literal.peak_mb),
        "literal_over_compared": literal.median / compared.median,
    }
    rounded = {name: round(value, 3) for name, value in figures.items()}
    targets = {
        "merge_seconds_median": MOST_SECONDS,
        "peak_mb": MOST_PEAK_MB,
        "last_over_first": MOST_GROWTH,
        "larger_over_smaller": MOST_GROWTH,
    }
    return BenchResult("merge", rounded, {name: Target.at_most(most, rounded[name]) for name, most in targets.items()})


def measure(home: Path, console: Console, rounds: int = ROUNDS) -> BenchResult:
    """Measure on 5,000 files with 10 million rows. ``home`` is not used."""
    del home
    return measure_merges(console, FILES, TIMES_LARGER, MERGES, NAIVE_MERGES, rounds)
