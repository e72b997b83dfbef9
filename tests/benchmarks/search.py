"""Measure search on what the stack holds: in this process, on the page, by the command; idle and beside a run.

Queries are the beginnings of seeded posts and the descriptions of verticals. Latencies are wall clock; the CPU time
beside them says more on a busy machine.
"""

import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from assets.corpus import CHUNKS
from assets.search.query import Searcher, open_search
from resources.catalogues import load_verticals
from tests.benchmarks import BenchResult, Target

QUERIES, SEARCHES, CLIENTS = 60, 120, (1, 4, 10)
USERS, THINK_SECONDS, PAGE_SECONDS = 10, 2.0, 60.0
COMMANDS = 3
WARM_P50, WARM_P95, COMMAND_SECONDS = 100.0, 250.0, 3.0
PAGE_P50, PAGE_P95, BESIDE_P95, PAGE_MIB = 150.0, 500.0, 1_500.0, 1_024.0
_SEED, _WORDS, _START_SECONDS, _TIMEOUT_SECONDS = 20_261_129, 3, 120, 60
_CIPPUS = [sys.executable, "-W", "ignore", "-m", "pipelines.cli"]


@dataclass(frozen=True)
class Latencies:
    """The milliseconds of some requests, the CPU milliseconds of each in this process, and the number of errors."""

    milliseconds: Sequence[float]
    cpu_milliseconds: float = 0.0
    errors: int = 0

    def of(self, name: str) -> dict[str, float]:
        """Return figures under a name."""
        ordered = sorted(self.milliseconds) or [0.0]
        return {
            f"{name}_p50_milliseconds": statistics.median(ordered),
            f"{name}_p95_milliseconds": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        }


def queries_of(searcher: Searcher, count: int) -> list[str]:
    """Return seeded queries: the first words of posts, and descriptions of verticals."""
    random_ = random.Random(_SEED)  # noqa: S311
    texts = searcher.lake.scan(CHUNKS).select("point_id", "text").sort("point_id").collect()["text"].to_list()
    starts = [" ".join(text.split()[:_WORDS]) for text in random_.sample(texts, min(count, len(texts)))]
    described = [text for vertical in load_verticals() for text in vertical.descriptions]
    found = [*starts[: count // 2], *random_.sample(described, min(count - count // 2, len(described)))]
    random_.shuffle(found)
    return [query for query in found if query.strip()]


def timed(call: Callable[[str], object], asked: Sequence[str], clients: int) -> Latencies:
    """Ask from several threads, each with its next query as soon as it has an answer."""

    def one(query: str) -> float:
        started = time.perf_counter()
        call(query)
        return 1e3 * (time.perf_counter() - started)

    cpu = time.process_time()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(one, asked))
    return Latencies(found, 1e3 * (time.process_time() - cpu) / len(found))


def users(address: str, asked: Sequence[str], seconds: float) -> Latencies:
    """Ask the page as USERS do, who each read for a while before the next query."""
    found: list[float] = []
    errors: list[Exception] = []
    until = time.monotonic() + seconds

    def user(number: int) -> None:
        time.sleep(number * THINK_SECONDS / USERS)
        turn = number * 7
        while time.monotonic() < until:
            started, turn = time.perf_counter(), turn + 1
            url = f"{address}/?{urllib.parse.urlencode({'q': asked[turn % len(asked)]})}"
            try:
                with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                    answer.read()
            except OSError as error:
                errors.append(error)
            taken = time.perf_counter() - started
            found.append(1e3 * taken)
            time.sleep(max(0.0, THINK_SECONDS - taken))

    threads = [threading.Thread(target=user, args=(number,)) for number in range(USERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Latencies(found, errors=len(errors))


@contextmanager
def page() -> Iterator[tuple[str, int]]:
    """Yield the address and process id of a page of the stack."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served = subprocess.Popen([*_CIPPUS, "web", "--port", str(port)], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{address}/static/favicon.svg", timeout=1).read()  # noqa: S310
                break
            except OSError:
                if served.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.1)
        yield address, served.pid
    finally:
        served.terminate()
        served.wait()


@contextmanager
def beside_runs() -> Iterator[list[int]]:
    """Run the lineage over and over meanwhile; yield the exit codes so far."""
    codes: list[int] = []
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            done = subprocess.run([*_CIPPUS, "run"], capture_output=True, check=False)
            codes.append(done.returncode)

    runner = threading.Thread(target=run)
    runner.start()
    try:
        yield codes
    finally:
        ended.set()
        runner.join()


def memory_mib(process: int) -> float:
    """Return the memory of a process and of those that it started."""
    first = psutil.Process(process)
    return sum(found.memory_info().rss for found in (first, *first.children(recursive=True))) / 2**20


def command(query: str) -> tuple[float, float]:
    """Return the wall and CPU seconds of `cippus search`."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*_CIPPUS, "search", query], capture_output=True, check=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(home: Path, console: Console) -> BenchResult:
    """Measure the searches of a stack that is up and has run."""
    del home
    searcher = open_search()
    asked = queries_of(searcher, QUERIES)
    many = (asked * (1 + SEARCHES // len(asked)))[:SEARCHES]
    figures: dict[str, float] = {"cores": len(os.sched_getaffinity(0)), "load_before": os.getloadavg()[0]}

    def search(query: str) -> object:
        return searcher.answer(query, media=False)

    with console.status("searching in this process"):
        for query in asked:
            search(query)
        for clients in CLIENTS:
            found = timed(search, many, clients)
            figures |= found.of(f"search_{clients}_clients")
            figures[f"search_{clients}_clients_cpu_milliseconds"] = found.cpu_milliseconds
        figures["process_mib"] = memory_mib(os.getpid())
    with console.status("running the command"):
        walls, cpus = zip(*(command(query) for query in asked[:COMMANDS]), strict=True)
        figures |= {"command_seconds": min(walls), "command_cpu_seconds": min(cpus)}
    with console.status("asking the page"), page() as (address, process):
        users(address, asked, PAGE_SECONDS / 4)
        idle = users(address, asked, PAGE_SECONDS)
        with beside_runs() as codes:
            figures |= timed(search, many, 1).of("search_beside_run")
            beside = users(address, asked, PAGE_SECONDS)
        figures |= idle.of("page") | beside.of("page_beside_run")
        figures |= {
            "page_errors": idle.errors,
            "page_beside_run_errors": beside.errors,
            "page_mib": memory_mib(process),
        }
        figures |= {"runs_beside": len(codes), "runs_failed": sum(map(bool, codes))}
    return BenchResult("search", {name: round(value, 3) for name, value in figures.items()}, targets_of(figures))


def targets_of(figures: dict[str, float]) -> dict[str, Target]:
    """Return the limits of figures: two cores that do nothing else."""
    limits = {
        "search_1_clients_p50_milliseconds": WARM_P50,
        "search_1_clients_p95_milliseconds": WARM_P95,
        "command_seconds": COMMAND_SECONDS,
        "page_p50_milliseconds": PAGE_P50,
        "page_p95_milliseconds": PAGE_P95,
        "page_beside_run_p95_milliseconds": BESIDE_P95,
        "page_mib": PAGE_MIB,
        "page_errors": 0,
        "page_beside_run_errors": 0,
        "runs_failed": 0,
    }
    return {name: Target.at_most(limit, figures[name]) for name, limit in limits.items()}
