"""Hostile sizes at full size: an account with a million posts, a post of 100 MB, a million hashtags; and half of each.

Linear work takes twice as long for twice as much. The targets allow three times.
"""

import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
from rich.console import Console

from assets.transforms.text.cleaning import clean
from assets.transforms.text.corpus import decide
from assets.transforms.text.near_duplicates import shingles
from resources.vectors.bm25 import SparseEncoder
from tests.benchmarks import BenchResult, Target
from tests.worlds.hostile_sizes import account_of, hashtags_of, landed, text_of

POSTS, TEXT_BYTES, HASHTAGS = 1_000_000, 100 << 20, 1_000_000
_MOST_TIMES = 3.0


def measure(home: Path, console: Console) -> BenchResult:
    """Measure the stages that see each of the three at its half and at its full size. ``home`` is not used."""
    del home
    figures: dict[str, float] = {}
    targets: dict[str, Target] = {}
    for name, run in (("posts", _of_posts), ("text", _of_text), ("hashtags", _of_hashtags)):
        half, full = run(2), run(1)
        figures |= {f"{name}: seconds at half the size": half, f"{name}: seconds": full}
        targets[f"{name}: seconds"] = Target.at_most(max(half, 0.1) * _MOST_TIMES, full)
        console.print(f"{name}: {half:.2f} s, {full:.2f} s")
    return BenchResult("hostile", figures, targets)


def _of_posts(divided_by: int) -> float:
    posts, accounts = account_of(POSTS // divided_by)
    return _seconds(lambda: decide(posts, accounts))


def _of_text(divided_by: int) -> float:
    text = text_of(TEXT_BYTES // divided_by)

    def stages() -> None:
        once = clean(text)
        shingles(once)
        SparseEncoder().encode_query(once)

    return _seconds(stages)


def _of_hashtags(divided_by: int) -> float:
    rows = hashtags_of(HASHTAGS // divided_by)
    return _seconds(lambda: landed(rows))


def _seconds(act: Callable[[], pl.DataFrame | int | None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began
