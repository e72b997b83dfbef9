"""Signal every long command at seeded moments. Each must end in five seconds, and the next one must go on."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console

from pipelines.cli.supervisor import GO_ON
from pipelines.local.server_process import free_ports
from pipelines.samples.creators import generate
from tests.benchmarks import BenchResult, Target

ROOT = Path(__file__).parents[2]
_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
_LONGEST_SECONDS = {
    ("demo", "--accounts", "6"): 60.0,
    ("run",): 20.0,
    ("checks",): 15.0,
    ("reconcile", "--deep"): 10.0,
    ("erase", "acc_0000001", "--scan-only"): 10.0,
    ("load", "{data}"): 10.0,
    ("search", "vegan recipes"): 6.0,
    ("up",): 4.0,
    ("s3-governor", "--port", "0"): 3.0,
    ("dev", "--port", "{port}"): 30.0,
}
"""Command → seconds within which its signal comes."""
_ENDED_SECONDS = 5.0


def measure(home: Path, console: Console, runs: int = 40, seed: int = 0) -> BenchResult:
    """Signal ``runs`` commands. Then a run and every check must pass."""
    del home  # its data stays
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # commands keep it ignored if the bench runs under `nohup`
    seconds, faults, finished = [0.0], list[str](), 0
    with tempfile.TemporaryDirectory() as scratch, _cippus(Path(scratch)) as start:
        for number in range(seed, seed + runs):
            ended = _signalled(start, random.Random(number), Path(scratch))  # noqa: S311
            finished += ended.finished
            seconds.append(ended.seconds)
            faults += [f"seed {number}: {fault}" for fault in ended.faults]
            console.print(f"seed {number}: {ended.what}, {ended.seconds:.1f} s", highlight=False)
        for command in (("up",), ("run",), ("checks",)):
            after = start(*command)
            output, errors = after.communicate()
            if after.returncode:
                faults.append(f"then cippus {command[0]} ended with {after.returncode}: {output[-500:]}{errors[-500:]}")
    for fault in faults:
        console.print(fault, style="red", markup=False, highlight=False)
    figures = {"signals": float(runs - finished), "slowest_seconds": max(seconds), "faults": float(len(faults))}
    targets = {
        "slowest_seconds": Target.at_most(_ENDED_SECONDS, max(seconds)),
        "faults": Target.at_most(0, len(faults)),
    }
    return BenchResult("signals", figures, targets)


class _Ended:
    """One signalled command."""

    def __init__(self, what: str, seconds: float, faults: list[str], *, finished: bool) -> None:
        self.what, self.seconds, self.faults, self.finished = what, seconds, faults, finished


class _Start:
    """Starts commands on a home of their own, in which nothing else runs."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str) -> subprocess.Popen[str]:
        variables = {**os.environ, "CIPPUS_HOME": str(self.home)}
        command = [sys.executable, "-m", "pipelines.cli", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=pipe, stderr=pipe, text=True)

    def processes(self) -> set[int]:
        """Return the processes that name this home in their arguments or environment."""
        found = set()
        for process in psutil.process_iter():
            try:
                arguments, variables = process.cmdline(), process.environ()
            except psutil.Error:
                continue
            if str(self.home) in " ".join(arguments) or variables.get("CIPPUS_HOME") == str(self.home):
                found.add(process.pid)
        return found


@contextmanager
def _cippus(scratch: Path) -> Iterator[_Start]:
    start = _Start(scratch / "home")
    generate(scratch / "data", accounts=4, seed=3)
    try:
        start("demo", "--accounts", "6").communicate()
        yield start
    finally:
        start("down").communicate()


def _signalled(start: _Start, rng: random.Random, scratch: Path) -> _Ended:
    given, longest = rng.choice(list(_LONGEST_SECONDS.items()))
    command = [part.format(data=scratch / "data", port=free_ports(1)[0]) for part in given]
    received, delay = rng.choice([*_SIGNALS]), rng.uniform(0.3, longest)
    before = start.processes()
    process = start(*command)
    try:
        process.communicate(timeout=delay)
        return _Ended(f"{given[0]} ended before {received.name}", 0.0, [], finished=True)
    except subprocess.TimeoutExpired:
        signalled = time.monotonic()
    for _ in range(rng.choice([1, 1, 3])):
        process.send_signal(received)
    _, errors = process.communicate()
    seconds, faults = time.monotonic() - signalled, []
    if process.returncode != _SIGNALS[received]:
        faults.append(f"{given[0]} ended with {process.returncode} after {received.name}: {errors[-500:]}")
    elif not errors.endswith(f"cippus: Stopped by {received.name}. {GO_ON}\n") or "Traceback" in errors:
        faults.append(f"{given[0]} said: {errors[-500:]}")
    if left := start.processes() - before:
        faults.append(f"{given[0]} left {len(left)} processes: {_described(left)}")
    what = f"{given[0]} after {delay:.1f} s by {received.name}"
    return _Ended(what, seconds, faults, finished=False)


def _described(pids: set[int]) -> str:
    return "; ".join(" ".join(psutil.Process(pid).cmdline())[:120] for pid in pids if psutil.pid_exists(pid))
