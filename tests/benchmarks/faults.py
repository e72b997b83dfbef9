"""Inject every fault of the catalogue: the intended check must fire. On clean runs no check may fire."""

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from dagster import DagsterInstance
from rich.console import Console
from rich.table import Table

from assets.labels.votes import LANDING
from pipelines.cli.terminal import shown
from pipelines.local import stack as embedded
from pipelines.samples.creators import generate
from pipelines.samples.load import load_folder
from resources.llm.embedder import EmbedderResource
from resources.local_stack import EmbeddedStack
from tests.benchmarks import BenchResult, Target
from tests.fakes.embedder import CountingEmbedder
from tests.worlds.check_results import evaluate, evaluate_all
from tests.worlds.fault_catalogue import CATALOGUE
from tests.worlds.governor_launcher import stop_governors
from tests.worlds.lineage import World
from tests.worlds.loaded import empty_world, loaded_world
from tests.worlds.shipping_catalogue import every_vertical_ships

CLEAN_RUNS, CREATORS = 50, 30
_BUCKET_COUNTS = (8, 4, 2, 1)
_THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "TOKIO_WORKER_THREADS"
"""There is a process for each core. Threads of each for all cores wait for each other, which doubles the CPU."""
_LEAST_CAUGHT_PERCENT = 95.0
_MOST_MINUTES = 30.0


def measure(home: Path, console: Console, runs: int = CLEAN_RUNS, seed: int = 0) -> BenchResult:
    """Print the matrix of faults and checks, then run ``runs`` clean lineages of invented creators."""
    del home  # its data stays
    began = time.monotonic()
    with _stack() as (stack, folder):
        with every_vertical_ships(), DagsterInstance.ephemeral() as instance:
            world = loaded_world(stack).clone("faults", folder / "faults")
            caught = _print_matrix(world, instance, console)
        injected_seconds = time.monotonic() - began
        alarms = _print_alarms(stack, folder, range(seed, seed + runs), console)
    for alarm in alarms:
        console.print(alarm, style="red", markup=False, highlight=False)
    percent, minutes = 100 * caught / len(CATALOGUE), (time.monotonic() - began) / 60
    figures = {
        "faults": float(len(CATALOGUE)),
        "caught_by_the_intended_check_percent": percent,
        "clean_runs": float(runs),
        "false_alarms": float(len(alarms)),
        "minutes_of_faults": injected_seconds / 60,
        "minutes": minutes,
    }
    targets = {
        "caught_by_the_intended_check_percent": Target(
            _LEAST_CAUGHT_PERCENT, percent, percent >= _LEAST_CAUGHT_PERCENT
        ),
        "false_alarms": Target.at_most(0, len(alarms)),
        "minutes": Target.at_most(_MOST_MINUTES, minutes),
    }
    return BenchResult("faults", figures, targets)


def _print_matrix(world: World, instance: DagsterInstance, console: Console) -> int:
    """Inject each fault, print what became of it, and return the number of faults that were caught."""
    table, caught = Table("stage", "fault", "check", "result", "seconds"), 0
    for row in CATALOGUE:
        began = time.monotonic()
        try:
            with row.inject(world):
                found = evaluate(world, row.check, instance=instance)
        except Exception as error:  # the other faults are still worth knowing
            result = f"[red]not injected: {shown(repr(error))}"
        else:
            is_caught = found is not None and not found.passed
            caught += is_caught
            result = "[green]caught" if is_caught else "[red]missed"
        table.add_row(row.stage, row.name, row.check, result, f"{time.monotonic() - began:.1f}")
    console.print(table)
    return caught


@contextmanager
def _stack() -> Iterator[tuple[EmbeddedStack, Path]]:
    with tempfile.TemporaryDirectory(prefix="cippus-faults-") as folder:
        home = Path(folder) / "home"
        try:
            yield embedded.up(home), Path(folder)
        finally:
            stop_governors()
            embedded.down(home)


def _print_alarms(stack: EmbeddedStack, folder: Path, seeds: range, console: Console) -> list[str]:
    """Run clean lineages, as many at a time as there are cores, and return the checks that fail after each."""
    alarms, workers = list[str](), len(os.sched_getaffinity(0))
    with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for name in _THREADS:
            patch.setenv(name, "1")
        running = {pool.submit(_alarms, stack, folder, seed): seed for seed in seeds}
        for number, ended in enumerate(as_completed(running), 1):
            alarms += [f"seed {running[ended]}: {alarm}" for alarm in ended.result()]
            console.print(f"{number} clean runs, {len(alarms)} false alarms so far", highlight=False)
    return alarms


def _alarms(stack: EmbeddedStack, folder: Path, seed: int) -> list[str]:
    """Return the checks that fail after a run of invented creators, with the real encoder.

    The number of buckets differs from run to run. Every second run has tags: in the others no vertical has earned to
    ship, as in most first runs of users.
    """
    buckets = _BUCKET_COUNTS[seed // 2 % len(_BUCKET_COUNTS)]
    with pytest.MonkeyPatch.context() as patch, every_vertical_ships() if seed % 2 else nullcontext():
        patch.setenv("CIPPUS_BUCKETS", str(buckets))
        world = _creators_world(stack, folder, seed)
        report = world.run(buckets=(0, buckets - 1))
        if not report.success:
            return [f"the run failed: {report.errors}"]
        with DagsterInstance.ephemeral() as instance:
            found = evaluate_all(world, instance)
    return [f"{name}: {result.description}" for name, result in found.items() if result and not result.passed]


def _creators_world(stack: EmbeddedStack, folder: Path, seed: int) -> World:
    """Return a world whose source and dropped labels are those of invented creators."""
    data = folder / f"data-{seed}"
    generate(data, accounts=CREATORS, seed=seed)
    real: tuple[EmbedderResource, CountingEmbedder] = (EmbedderResource(encoder="english"), CountingEmbedder())
    made = replace(empty_world(stack, f"clean_{seed}", folder / f"clean-{seed}"), embedding=real)  # type: ignore[arg-type]
    with made.source() as connection:
        connection.execute("TRUNCATE accounts, posts, testimonials")
    made.s3.delete([item.key for item in made.s3.list_objects("landing/")])
    labels = data / "labels.parquet"
    made.s3.put(f"{LANDING}labels.parquet", labels.read_bytes())
    labels.unlink()  # a load would drop it into the bucket of the stack
    load_folder(data, replace(stack, postgres_dsn=made.dsn))
    return made
