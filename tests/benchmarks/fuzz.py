"""Read a thousand damaged files of each format: what is read, refused, or ends the process that reads it."""

import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.benchmarks import BenchResult
from tests.worlds.damaged_files import FORMATS, fuzz

FILES = 1_000


def measure(home: Path, console: Console, runs: int = FILES, seed: int = 0) -> BenchResult:
    """Read ``runs`` damaged files of each format, from ``seed`` on. Raise what a reader does not handle."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            began = time.monotonic()
            found = fuzz(name, range(seed, seed + runs), Path(folder))
            took = time.monotonic() - began
            ended = sum("was ended by" in reason or "takes more than" in reason for reason in found["reasons"])
            figures |= {
                f"{name}: files read": found["read"],
                f"{name}: files refused": found["refused"],
                f"{name}: readers ended or out of memory": ended,
                f"{name}: milliseconds per file": took / runs * 1000,
            }
            console.print(f"{name}: {found['read']} read, {found['refused']} refused, {took:.0f} s")
    return BenchResult("fuzz", figures)
