"""Chaos: applications write, workers are killed, S3 fails, ticks are duplicated. At the end, lake = database.

Each commit has other seeds. A failure prints the command to repeat it.
"""

import io
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from resources.local_stack import EmbeddedStack
from tests.benchmarks.command import main
from tests.chaos import bench
from tests.chaos.bench import Series
from tests.chaos.incidents import DECKS, INCIDENTS, PLACES, What, directed, wanted_by

RUNS, WORLDS, _PASSES = 50, 2, 8
COMMIT_STEPS = (
    *("extract: raw file", "extract: manifest", "merge: lake file", "merge: lake commit"),
    *("tidy: lake file", "tidy: lake commit"),
)
QUIET = Console(file=io.StringIO())


def first_seed() -> int:
    """Return a seed that depends on the commit, or 0 without a repository."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(asked.stdout, 16) % 100_000 * RUNS if asked.returncode == 0 else 0


@pytest.fixture(scope="module")
def series(stack: EmbeddedStack) -> Series:
    """RUNS seeds, and runs that are directed to the kinds of incidents that happened in none of them."""
    seed = first_seed()
    found = bench.run_series(stack, "chaos", range(seed, seed + RUNS), QUIET, WORLDS)
    for attempt in range(_PASSES):
        missing = [place for place in COMMIT_STEPS if not kills(found, place)]
        chosen = [next(each for each in INCIDENTS if each.name.startswith(f"{place}, kill")) for place in missing]
        chosen += [next(each for each in INCIDENTS if each.what is what) for what in What if not found.count(what)]
        if not chosen:
            break
        seeds = [directed(incident, seed + RUNS + attempt) for incident in chosen]
        found.add(bench.run_series(stack, f"chaos_{attempt}", seeds, QUIET, WORLDS))
    return found


def kills(found: Series, place: str) -> int:
    return sum(times for name, times in found.happened.items() if name.startswith(f"{place}, {What.KILL}"))


def test_lake_is_the_database_whatever_happened(series: Series) -> None:
    assert len(series.seconds) >= RUNS
    assert not series.failures, "\n\n".join(series.failures.values())


@pytest.mark.parametrize("place", COMMIT_STEPS)
def test_workers_were_killed_at_every_commit_step(series: Series, place: str) -> None:
    assert kills(series, place)


def test_everything_happened_that_can(series: Series) -> None:
    assert all(series.count(what) for what in What), series.happened


def test_decks_have_every_incident_once() -> None:
    for step, deck in DECKS.items():
        assert len({incident.name for incident in deck}) == len(deck)
        assert {incident.where for incident in deck} == set(PLACES[step])


def test_a_seed_directs_its_run_to_an_incident() -> None:
    assert [wanted_by(directed(incident, 7)) for incident in INCIDENTS] == INCIDENTS
    assert len({directed(incident, 7) for incident in INCIDENTS}) == len(INCIDENTS)
    assert wanted_by(first_seed() + 2 * RUNS) is None


def test_a_series_is_held_to_its_targets() -> None:
    found = Series([1.0, 2.0, 3.0])
    found.failures[7] = "differs"
    assert not any(target.met for target in bench.result(found, 6.0).targets.values())
    found.failures.clear()
    found.happened.update(incident.name for deck in DECKS.values() for incident in deck)
    assert all(target.met for target in bench.result(found, 6.0).targets.values())


def test_other_benches_have_no_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["overhead", "--seed", "3"])
    assert refused.value.code == 2
    assert (
        "--seed is an option of chaos, fuzz, interleavings, signals, faults, labels, roster, text, cluster, erasures "
        "alone" in capsys.readouterr().err
    )
