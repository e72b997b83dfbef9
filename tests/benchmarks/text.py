"""Hostile texts: what they look like in every output, and the time of every stage at a size and at four times it.

Linear work takes four times as long for four times as much. The target allows seven; quadratic work takes sixteen.
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.benchmarks import BenchResult, Target
from tests.chaos.bench import own_stack
from tests.worlds.hostile_text import FAMILIES
from tests.worlds.text_outputs import text_world
from tests.worlds.text_stages import STAGES
from tests.worlds.text_verdict import faults

RUNS = 300
"""Hostile accounts of the world, each with two posts and a testimonial."""
_POST_CHARACTERS = 400
_SMALL, _TIMES = 25_000, 4
_MOST_TIMES = 7.0
_LEAST_SECONDS = 0.02
"""A time below is noise: a stage that takes less at the small size is compared with this."""


def measure(home: Path, console: Console, runs: int = RUNS, seed: int = 0) -> BenchResult:
    """Show ``runs`` hostile accounts everywhere, and time the stages. ``home`` is not used."""
    del home
    figures: dict[str, float] = {"accounts": runs}
    targets: dict[str, Target] = {}
    for stage, work in STAGES.items():
        worst, family = max((_times(work, name, seed), name) for name in FAMILIES)
        console.print(f"{stage}: {worst:.1f} times as long for {_TIMES} times as much, with {family}", highlight=False)
        figures[name := f"{stage}: times at {_TIMES} times the size"] = round(worst, 2)
        targets[name] = Target.at_most(_MOST_TIMES, figures[name])
    found, outputs = _faults(runs, seed, console)
    figures |= {"outputs": outputs, "faults": found}
    targets["faults"] = Target.at_most(0, found)
    return BenchResult("text", figures, targets)


def _times(work: Callable[[str], object], family: str, seed: int) -> float:
    """Return how much longer a stage takes for a longer text; the lesser of two tries."""
    small, large = (FAMILIES[family](random.Random(seed), size) for size in (_SMALL, _SMALL * _TIMES))  # noqa: S311
    work(small)  # tables that are made once
    return min(max(_seconds(work, large), 0) / max(_seconds(work, small), _LEAST_SECONDS) for _ in range(2))


def _seconds(work: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    work(text)
    return time.process_time() - began


def _faults(accounts: int, seed: int, console: Console) -> tuple[int, int]:
    with (
        own_stack() as stack,
        tempfile.TemporaryDirectory(prefix="cippus-") as folder,
        text_world(stack, "hostile_text", Path(folder), seed, accounts, _POST_CHARACTERS) as world,
    ):
        found = outputs = 0
        for output in world.outputs():
            outputs += 1
            for fault in faults(output):
                found += 1
                console.print(fault, highlight=False, markup=False)
        return found, outputs
