"""Signal every long command at seeded moments. Each must end in five seconds, and the next one must go on."""

import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    ("web", "--port", "{port}"): 20.0,
}
"""Command → seconds within which its signal comes."""
_ENDED_SECONDS = 5.0


def measure(home: Path, console: Console, runs: int = 40, seed: int = 0) -> BenchResult:
    """Signal ``runs`` commands. Then a run and every check must pass."""
    del home  # its data stays
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # commands keep it ignored if the bench runs under `nohup`
    seconds, cpu_seconds, faults, finished = [0.0], [0.0], list[str](), 0
    with tempfile.TemporaryDirectory() as scratch, _cippus(Path(scratch)) as start:
        for number in range(seed, seed + runs):
            ended = _signalled(start, random.Random(number), Path(scratch))  # noqa: S311
            finished += ended.finished
            seconds.append(ended.seconds)
            cpu_seconds.append(ended.cpu_seconds)
            faults += [f"seed {number}: {fault}" for fault in ended.faults]
            took = f"{ended.seconds:.1f} s, {ended.cpu_seconds:.1f} s of CPU, load {os.getloadavg()[0]:.0f}"
            console.print(f"seed {number}: {ended.what}, {took}", highlight=False)
        for command in (("up",), ("run",), ("checks",)):
            after = start(*command)
            output, errors = after.communicate()
            if after.returncode:
                faults.append(f"then cippus {command[0]} ended with {after.returncode}: {output[-500:]}{errors[-500:]}")
    for fault in faults:
        console.print(fault, style="red", markup=False, highlight=False)
    figures = {
        "signals": float(runs - finished),
        "slowest_seconds": max(seconds),
        "median_seconds": statistics.median(seconds),
        "most_cpu_seconds": max(cpu_seconds),
        "faults": float(len(faults)),
    }
    targets = {
        "slowest_seconds": Target.at_most(_ENDED_SECONDS, max(seconds)),
        "faults": Target.at_most(0, len(faults)),
    }
    return BenchResult("signals", figures, targets)


class _Ended:
    """One signalled command."""

    def __init__(self, what: str, seconds: float, cpu_seconds: float, faults: list[str], *, finished: bool) -> None:
        """``cpu_seconds`` are those of all its processes after the signal."""
        self.what, self.seconds, self.cpu_seconds = what, seconds, cpu_seconds
        self.faults, self.finished = faults, finished


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
    before, ended_before = start.processes(), _ended_cpu_seconds()
    process = start(*command)
    try:
        process.communicate(timeout=delay)
        return _Ended(f"{given[0]} ended before {received.name}", 0.0, 0.0, [], finished=True)
    except subprocess.TimeoutExpired:
        cpu_seconds, signalled = _tree_cpu_seconds(process.pid), time.monotonic()
    for _ in range(rng.choice([1, 1, 3])):
        process.send_signal(received)
    _, errors = process.communicate()
    seconds, faults = time.monotonic() - signalled, list[str]()
    cpu_seconds = max(0.0, _ended_cpu_seconds() - ended_before - cpu_seconds)
    if process.returncode != _SIGNALS[received]:
        faults.append(f"{given[0]} ended with {process.returncode} after {received.name}: {errors[-500:]}")
    elif not errors.endswith(f"cippus: Stopped by {received.name}. {GO_ON}\n") or "Traceback" in errors:
        faults.append(f"{given[0]} said: {errors[-500:]}")
    if left := start.processes() - before:
        faults.append(f"{given[0]} left {len(left)} processes: {_described(left)}")
    what = f"{given[0]} after {delay:.1f} s by {received.name}"
    return _Ended(what, seconds, cpu_seconds, faults, finished=False)


def _ended_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree_cpu_seconds(pid: int) -> float:
    """Return what a process, all below it and their ended children have used."""
    root, seconds = psutil.Process(pid), 0.0
    for found in (root, *root.children(recursive=True)):
        with suppress(psutil.Error):
            used = found.cpu_times()
            seconds += used.user + used.system + used.children_user + used.children_system
    return seconds


def _described(pids: set[int]) -> str:
    return "; ".join(" ".join(psutil.Process(pid).cmdline())[:120] for pid in pids if psutil.pid_exists(pid))
