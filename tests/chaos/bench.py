"""Run seeded faults through extraction and lake. At the end, the lake must equal the database, row for row."""

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock

from rich.console import Console

from pipelines.local import stack as embedded
from resources.cpu import available_cores
from resources.local_stack import EmbeddedStack
from tests.benchmarks import BenchResult, Target
from tests.chaos.incidents import INCIDENTS, Incident, What, directed
from tests.chaos.run import try_seed
from tests.chaos.world import world

RUNS = 60
_MOST_DIRECTED = 24
"""Runs that are directed to an incident which happened in no other, one after the other until it happens."""
_FEW = 5
_RUNS_PER_LINE = 20
"""Runs per line of progress. A run takes one to three seconds."""


@dataclass
class Series:
    """Results of a series of runs. ``failures``: seed → the difference, the diary, and the command to repeat it."""

    seconds: list[float] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def never_happened(self) -> list[Incident]:
        """Return the incidents that happened in no run."""
        return [incident for incident in INCIDENTS if not self.happened[incident.name]]

    def count(self, what: What) -> int:
        """Return how often something happened."""
        return sum(times for name, times in self.happened.items() if f", {what}" in name)

    def add(self, later: "Series") -> None:
        """Add the results of later runs."""
        self.seconds += later.seconds
        self.happened += later.happened
        self.told += later.told
        self.failures |= later.failures


def run_series(stack: EmbeddedStack, name: str, seeds: Sequence[int], console: Console, worlds: int = 1) -> Series:
    """Run every seed, in parallel ``worlds``. Each has its own database, bucket and workers."""
    found, waiting, one_at_a_time = Series(), SimpleQueue[int](), Lock()
    for seed in seeds:
        waiting.put(seed)

    def work(number: int) -> None:
        with world(stack, f"{name}_{number}") as mine:
            for seed in _taken(waiting):
                started = time.monotonic()
                run, failure = try_seed(mine, seed)
                with one_at_a_time:
                    found.seconds.append(time.monotonic() - started)
                    found.happened += run.happened
                    found.told += run.told
                    if failure:
                        found.failures[seed] = failure
                        console.print(failure, highlight=False, markup=False)
                    if len(found.seconds) % _RUNS_PER_LINE == 0:
                        progress = f"{len(found.seconds)} of {len(seeds)} runs, {len(found.failures)} failed"
                        console.print(progress, highlight=False)

    with ThreadPoolExecutor(worlds) as pool:
        list(pool.map(work, range(worlds)))
    return found


def _taken(waiting: SimpleQueue[int]) -> Iterator[int]:
    while True:
        try:
            yield waiting.get_nowait()
        except Empty:
            return


def measure(home: Path, console: Console, runs: int = RUNS, seed: int = 0) -> BenchResult:
    """Run ``runs`` seeds, starting at ``seed``, on a temporary embedded stack. ``home`` is not used.

    An incident that happened in none of them has runs of its own.
    """
    with own_stack() as stack:
        console.print(f"{runs} runs from seed {seed}", highlight=False)
        started = time.monotonic()
        found = run_series(stack, "chaos", range(seed, seed + runs), console, available_cores())
        for attempt in range(_MOST_DIRECTED if runs > 1 else 0):
            if not (missing := found.never_happened):
                break
            names = ": " + "; ".join(incident.name for incident in missing) if len(missing) <= _FEW else ""
            console.print(f"{len(missing)} incidents happened in no run yet{names}", highlight=False, markup=False)
            seeds = [directed(incident, seed + runs + attempt) for incident in missing]
            found.add(run_series(stack, f"chaos_{attempt}", seeds, console, available_cores()))
        for incident in found.never_happened:
            console.print(f"never happened: {incident.name}", highlight=False, markup=False)
        return result(found, time.monotonic() - started)


@contextmanager
def own_stack() -> Iterator[EmbeddedStack]:
    """Yield Postgres and S3 in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:
        try:
            yield embedded.up(Path(folder))
        finally:
            embedded.down(Path(folder))


def result(found: Series, wall_seconds: float) -> BenchResult:
    """Return the figures: number of each incident, errors that steps ended with, and failed runs."""
    figures: dict[str, float] = {
        "runs": len(found.seconds),
        "failed_runs": len(found.failures),
        "wall_seconds": round(wall_seconds, 1),
        "run_seconds_median": round(statistics.median(found.seconds), 3),
        "incidents": found.happened.total(),
        "incidents_never_happened": len(found.never_happened),
        **{f"incidents {what}": found.count(what) for what in What},
        **{f"errors {name}": times for name, times in sorted(found.told.items())},
    }
    targets = {name: Target.at_most(0, figures[name]) for name in ("failed_runs", "incidents_never_happened")}
    return BenchResult("chaos", figures, targets)
