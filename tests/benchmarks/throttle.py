"""Measure five S3 clients under request limits, with and without the governor: lost, goodput, wasted."""

import statistics
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests.benchmarks import BenchResult, Target
from tests.benchmarks.limited_s3 import running
from tests.benchmarks.throttle_cell import Cell, Verdict, run_cell
from tests.benchmarks.throttle_clients import CLIENTS, RACE
from tests.benchmarks.throttle_load import ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY

LEAST_GOODPUT, LEAST_MEDIAN_GOODPUT = 0.92, 0.95
MOST_WASTED, MOST_MEDIAN_WASTED = 0.08, 0.05
GRID = ((1, 100, 150), (2, 100, 150), (2, 20, 30))
_FAULTY, _ABOVE, _BELOW, _VIRTUAL = "faults", "limit_above", "limit_below", "virtual_host"
_RACE_WITNESSED, _FAULTY_WITNESSED = f"{RACE}_witnessed", "faults_witnessed"


def cells(clients: Iterable[str] = tuple(CLIENTS)) -> list[Cell]:
    """Return all cells: the grid without and with the governor, then the cells that only the governor must pass.

    With `limit_above`, four prefixes that the governor learns separately share one limit. With `limit_below`, a prefix
    that it learns as one has four limits.
    """
    found = []
    for client in clients:
        for processes, writes, reads in GRID:
            direct = Cell(client, processes, writes, reads, governed=False)
            found += [direct, replace(direct, governed=True)]
        base = Cell(client)
        above = tuple(f"shared/{part}" for part in "abcd")
        below = tuple(f"lake/table/{part}" for part in "abcd")
        found += [
            replace(base, kind=_FAULTY, faulty=True, signed=False),
            replace(base, kind=_ABOVE, prefixes=above, governor_depth=2),
            replace(base, kind=_BELOW, prefixes=below, server_depth=3, governor_depth=2, writes=25, reads=37.5),
            replace(base, kind=_VIRTUAL, virtual_host=True),
        ]
        if client == "deltalake":
            race = replace(base, kind=RACE, faulty=True, signed=False, prefixes=(RACE,))
            found += [race, replace(race, kind=_RACE_WITNESSED, signed=True)]
            found.append(replace(base, kind=_FAULTY_WITNESSED, faulty=True))
    return found


def measure(home: Path, console: Console) -> BenchResult:
    """Run all cells, about 22 minutes. Needs no embedded stack."""
    return run(cells(), console)


def run(chosen: list[Cell], console: Console) -> BenchResult:
    """Run some cells, each with a governor without learned limits."""
    verdicts = []
    keys = ("--access-key", ACCESS_KEY_ID, "--secret-key", SECRET_ACCESS_KEY)
    with running(buckets=(BUCKET,), options=keys) as checking, running(buckets=(BUCKET,)) as trusting:
        for cell in chosen:
            verdict = run_cell(cell, checking if cell.signed else trusting)
            verdicts.append(verdict)
            _show(console, verdict)
    figures = {name: round(value, 4) for verdict in verdicts for name, value in _figures(verdict).items()}
    return BenchResult("throttle", figures, targets([verdict for verdict in verdicts if verdict.cell.governed]))


def _show(console: Console, verdict: Verdict) -> None:
    share = verdict.lost / max(1, verdict.attempts)
    goodput = f"{verdict.goodput:.2f} ({verdict.write_goodput:.2f}, {verdict.read_goodput:.2f})"
    console.print(
        f"{verdict.cell.label:<44} lost {verdict.lost} ({share:.1%}) of {verdict.attempts}, twice {verdict.twice}, "
        f"goodput {goodput}, wasted {verdict.wasted:.1%}, "
        f"cores idle {min(verdict.idle, default=0):.0%} {dict(verdict.errors) or ''}",
        highlight=False,
    )
    for example in verdict.examples.values() if verdict.cell.governed else ():
        console.print(f"    {example}", highlight=False, markup=False)


def _figures(verdict: Verdict) -> dict[str, float]:
    label = verdict.cell.label
    figures = {
        f"{label}_attempts": verdict.attempts,
        f"{label}_lost": verdict.lost,
        f"{label}_lost_share": verdict.lost / max(1, verdict.attempts),
        f"{label}_written_twice": verdict.twice,
        f"{label}_goodput": verdict.goodput,
        f"{label}_goodput_write_phase": verdict.write_goodput,
        f"{label}_goodput_read_phase": verdict.read_goodput,
        f"{label}_wasted": verdict.wasted,
        f"{label}_cores_idle": min(verdict.idle, default=0.0),
    }
    return figures | {f"{label}_errors_{kind}": count for kind, count in verdict.errors.items()}


def targets(governed: list[Verdict]) -> dict[str, Target]:
    """Return targets: nothing lost or written twice; goodput and waste in cells without faults."""
    found: dict[str, Target] = {}
    for verdict in governed:
        label = verdict.cell.label
        found[f"{label}_lost"] = Target.at_most(0, verdict.lost)
        found[f"{label}_written_twice"] = Target.at_most(0, verdict.twice)
        if not verdict.cell.faulty:
            found[f"{label}_goodput"] = _at_least(LEAST_GOODPUT, verdict.goodput)
            found[f"{label}_wasted"] = Target.at_most(MOST_WASTED, verdict.wasted)
    plain = [verdict for verdict in governed if not verdict.cell.faulty]
    if plain:
        goodput = statistics.median(verdict.goodput for verdict in plain)
        found["median_goodput"] = _at_least(LEAST_MEDIAN_GOODPUT, goodput)
        found["median_wasted"] = Target.at_most(MOST_MEDIAN_WASTED, statistics.median(v.wasted for v in plain))
    return found


def _at_least(target: float, got: float) -> Target:
    return Target(target, got, got >= target)
