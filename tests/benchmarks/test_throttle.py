"""The throttle bench: each client runs without a limit, and the verdict sees what was lost or written twice."""

from collections.abc import Iterator

import pytest
from deltalake import write_deltalake
from rich.console import Console

from tests.benchmarks import throttle
from tests.benchmarks.limited_s3 import RunningServer, running
from tests.benchmarks.throttle_cell import Cell, Verdict, check_directly, goodput, run_cell
from tests.benchmarks.throttle_clients import CLIENTS
from tests.benchmarks.throttle_load import ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Door, frame

AMPLE = 100_000.0
SECONDS = 0.2


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    keys = ("--access-key", ACCESS_KEY_ID, "--secret-key", SECRET_ACCESS_KEY)
    with running(buckets=(BUCKET,), options=keys) as started:
        yield started


@pytest.mark.parametrize(("client", "governed"), [*((name, True) for name in CLIENTS), ("deltalake", False)])
def test_a_cell_without_a_limit_loses_nothing(server: RunningServer, client: str, governed: bool) -> None:
    verdict = run_cell(Cell(client, 1, AMPLE, AMPLE, governed=governed, seconds=SECONDS), server)
    assert (verdict.lost, verdict.twice, verdict.throttled, verdict.examples) == (0, 0, 0, {})
    assert verdict.attempts > 0
    assert min(verdict.write_goodput, verdict.read_goodput) > 0


@pytest.mark.parametrize("client", ["boto3", "polars", "deltalake"])
def test_what_is_not_there_afterwards_is_lost(server: RunningServer, client: str) -> None:
    server.clear()
    verdict, direct = Verdict(Cell(client)), Door(client, server.url)
    write_deltalake(f"s3://{BUCKET}/data/t", frame("data/t#there"), storage_options=direct.storage_options())
    check_directly(verdict, server, direct, ["data/t#there", "data/t#gone"] if client == "deltalake" else ["data/gone"])
    assert (verdict.lost, verdict.twice, dict(verdict.errors)) == (1, 0, {"MissingOrWrong": 1})


def test_an_append_that_is_there_twice_is_seen(server: RunningServer) -> None:
    server.clear()
    verdict, direct = Verdict(Cell("deltalake")), Door("deltalake", server.url)
    for _ in "12":
        options = direct.storage_options()
        write_deltalake(f"s3://{BUCKET}/data/t", frame("data/t#x"), mode="append", storage_options=options)
    check_directly(verdict, server, direct, ["data/t#x"])
    assert verdict.lost == 0
    assert verdict.twice > 0


def test_goodput_counts_until_the_last_operation() -> None:
    cell = Cell("boto3", writes=10, reads=10, seconds=1.0)
    stats = {"timelines": [{"verb": "write", "accepted": [1] * 10}, {"verb": "read", "accepted": [0] * 19 + [1]}]}
    assert goodput({"timelines": stats["timelines"][:1]}, cell) == pytest.approx(1)
    assert goodput(stats, cell) == pytest.approx(0.5)
    over_two = Cell("boto3", writes=10, reads=10, seconds=1.0, prefixes=("a", "b"))
    assert goodput({"timelines": stats["timelines"][:1]}, over_two) == pytest.approx(0.5)


def test_targets_are_missed_when_anything_is_lost() -> None:
    def targets(verdict: Verdict) -> set[str]:
        return {name for name, target in throttle.targets([verdict]).items() if not target.met}

    good = Verdict(Cell("boto3"), attempts=10, answers=100, throttled=5, write_goodput=0.96, read_goodput=0.96)
    assert targets(good) == set()
    label = good.cell.label
    bad = Verdict(Cell("boto3"), lost=1, twice=1, answers=100, throttled=9, write_goodput=0.9, read_goodput=0.9)
    wanted = {f"{label}_{name}" for name in ("lost", "written_twice", "goodput", "wasted")}
    assert targets(bad) == wanted | {"median_goodput", "median_wasted"}


def test_there_is_a_cell_for_every_promise() -> None:
    cells = throttle.cells()
    labels = [cell.label for cell in cells]
    assert len(labels) == len(set(labels))
    for client in CLIENTS:
        for grid in ("1x_100w_150r", "2x_100w_150r", "2x_20w_30r"):
            assert {f"{client}_{grid}_direct", f"{client}_{grid}_governed"} <= set(labels)
    assert {cell.kind for cell in cells} == {"", "faults", "limit_above", "limit_below", "virtual_host", "race"} | {
        "race_witnessed",
        "faults_witnessed",
    }


def test_a_bench_of_one_cell_reports_figures_and_targets() -> None:
    cell = Cell("obstore", 1, AMPLE, AMPLE, governed=False, seconds=SECONDS)
    result = throttle.run([cell], Console(quiet=True))
    assert result.figures[f"{cell.label}_lost"] == 0
    assert result.figures[f"{cell.label}_attempts"] > 0
    assert result.targets == {}
