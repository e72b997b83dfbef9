"""The command that runs one benchmark."""

import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.cli.terminal import require_stack
from resources.errors import InputError
from resources.settings import home
from tests.benchmarks import BenchResult

BENCHES = {
    "throttle": "tests.benchmarks.throttle",
    "governor": "tests.benchmarks.governor",
    "merge": "tests.benchmarks.merge",
    "index": "tests.benchmarks.index",
    "search": "tests.benchmarks.search",
    "embed": "tests.benchmarks.embed",
    "extract": "tests.benchmarks.extract",
    "erase": "tests.benchmarks.erase",
    "overhead": "tests.benchmarks.overhead",
    "chaos": "tests.chaos.bench",
    "fuzz": "tests.benchmarks.fuzz",
    "hostile": "tests.benchmarks.hostile",
    "interleavings": "tests.benchmarks.interleavings",
    "spend": "tests.benchmarks.spend",
    "signals": "tests.benchmarks.signals",
    "faults": "tests.benchmarks.faults",
    "labels": "tests.benchmarks.labels",
    "batches": "tests.benchmarks.batches",
    "roster": "tests.benchmarks.roster",
    "text": "tests.benchmarks.text",
    "cluster": "tests.benchmarks.cluster",
    "erasures": "tests.benchmarks.erasures",
    "engines": "tests.benchmarks.engines",
}
"""Name → module with a function `measure(home, console, **options)`."""
_ON_THE_STACK = {"overhead", "governor", "embed", "extract", "search"}
_SEEDED = {
    "chaos": 60,
    "fuzz": 1_000,
    "interleavings": 1_000,
    "signals": 40,
    "faults": 50,
    "labels": 5,
    "roster": 1_000,
    "text": 300,
    "cluster": 200,
    "erasures": 50,
}
"""Name → number of runs: for fuzz of each format, faults of clean runs, roster of sets, others of accounts."""
_ON_FOLDERS = {"labels"}
"""Benches that measure labelled folders."""
_FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench that the arguments name and print its result. Return the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    options: dict[str, Any] = {name: value for name in ("runs", "seed") if (value := getattr(given, name)) is not None}
    if options and given.name not in _SEEDED:
        seeded = ", ".join(_SEEDED)
        parser.error(f"--{next(iter(options))} is an option of {seeded} alone, not of `{given.name}`.")
    if given.data:
        if given.name not in _ON_FOLDERS:
            parser.error(f"--data is an option of {', '.join(sorted(_ON_FOLDERS))} alone, not of `{given.name}`.")
        options["data"] = tuple(given.data)
    try:
        if given.name in _ON_THE_STACK:
            require_stack()
        result = import_module(BENCHES[given.name]).measure(home(), Console(stderr=True), **options)
    except InputError as error:
        Console(stderr=True).print(f"bench {given.name}: {error}", markup=False, highlight=False, soft_wrap=True)
        return _FAILED
    out = Console()
    if given.json:
        out.print_json(json.dumps(result.to_json()))
    else:
        out.print(table_of(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = ", ".join(f"{name} {runs}" for name, runs in _SEEDED.items())
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description="Run one benchmark beside its peers.")
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=_at_least(1), help=f"number of seeded runs: {defaults}")
    parser.add_argument("--seed", type=_at_least(0), help="seed of the first run (0)")
    parser.add_argument("--data", type=Path, action="append", help="a labelled folder to measure; repeat it for more")
    return parser


class _at_least:  # noqa: N801 - argparse prints the type's name
    def __init__(self, least: int) -> None:
        self.__name__, self._least = f"number of at least {least}", least

    def __call__(self, text: str) -> int:
        if (number := int(text)) < self._least:
            raise ValueError(text)
        return number


def table_of(result: BenchResult) -> Table:
    """Return the figures of a result, with the targets that they meet or miss."""
    table = Table("figure", "value", "target", title=f"bench {result.bench}")
    for name, value in result.figures.items():
        target = result.targets.get(name)
        verdict = "" if target is None else f"{target.target:g} {'[green]met' if target.met else '[red]missed'}"
        table.add_row(name, f"{value:,.3f}", verdict)
    return table
