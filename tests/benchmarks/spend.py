"""Crash two runs that share a ceiling: in process at seeded points, and real processes with SIGKILL.

The provider keeps its own account. Afterwards nothing may have passed the ceiling, nothing may be paid twice, and the
ledger must equal that account, call by call. No other project has a durable ledger, so there is no peer.
"""

import datetime as dt
import multiprocessing
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.local import stack as embedded
from resources.cpu import available_cores
from resources.llm.answers import Answers
from resources.llm.client import Llm, SpendingStoppedError
from resources.llm.completions import Completions, Prices
from resources.llm.endpoint import Endpoint
from resources.s3.client import S3Resource
from resources.spend.account import PROJECT
from resources.spend.ledger import Ledger
from resources.spend.spender import Spender
from resources.spend.store import S3Store
from tests.benchmarks import BenchResult, Target
from tests.fakes.llm_server import DELAY, DROP_ANSWER, DROP_REQUEST, LIMIT, Provider, serve
from tests.worlds.spend import ASSET, AT_ONCE, BOOK, MODEL, PROVIDER, Outcome, World, price_at, requests

CRASHES, KILLS, SEEDS_A_TASK = 10_000, 200, 20
_REQUESTS, _CEILING = 4_000, Decimal("0.02")


def measure(_home: Path, console: Console, crashes: int = CRASHES, kills: int = KILLS) -> BenchResult:
    """Run the seeds until so many crashes happened, then kill so many processes."""
    started, found = time.monotonic(), Counter[str]()
    for outcome in _outcomes(crashes, found, console):
        found["seeds"] += 1
        found["crashes"] += outcome.crashes
        found["provider faults"] += outcome.faults
        found["lost answers of writes"] += outcome.lost_writes
        found["ceilings reached"] += outcome.stopped
        found["problems"] += len(outcome.problems)
        for problem in outcome.problems:
            console.print(f"seed {outcome.seed}: {problem}", style="red", markup=False)
    minutes = (time.monotonic() - started) / 60
    with tempfile.TemporaryDirectory(prefix="cippus-spend-") as folder:
        killed = measure_kills(Path(folder), kills)
    figures = {**{name: float(number) for name, number in found.items()}, "crash minutes": minutes, **killed}
    none = {name: Target.at_most(0.0, figures[name]) for name in ("problems", "overspend USD", "calls paid twice")}
    return BenchResult(
        "spend", figures, {**none, "calls that differ": Target.at_most(0.0, figures["calls that differ"])}
    )


def _outcomes(crashes: int, found: Counter[str], console: Console) -> Iterator[Outcome]:
    with ProcessPoolExecutor(available_cores(), multiprocessing.get_context("spawn")) as pool:
        starts = count(0, SEEDS_A_TASK)
        running = [pool.submit(play, next(starts)) for _ in range(available_cores())]
        while running:
            yield from running.pop(0).result()
            if found["crashes"] < crashes:
                running.append(pool.submit(play, next(starts)))
            console.print(f"{found['crashes']:,} of {crashes:,} crashes", highlight=False)


def play(first: int) -> list[Outcome]:
    """Play some seeds."""
    return [World(seed, count=8, crashes=8).play() for seed in range(first, first + SEEDS_A_TASK)]


def measure_kills(home: Path, kills: int, seed: int = 7) -> dict[str, float]:
    """Kill processes that spend on the embedded S3 until so many were killed; then finish, reconcile, compare."""
    chance = random.Random(seed)  # noqa: S311 -- a seeded bench
    stack = embedded.up(home)
    faults = [DROP_REQUEST, DROP_ANSWER, DELAY, LIMIT]
    provider = Provider(
        price_at, lambda: dt.datetime.now(dt.UTC), lambda: chance.choice(faults) if chance.random() < 0.1 else ""
    )
    s3 = S3Resource(
        bucket="spend-bench",
        endpoint_url=stack.s3_endpoint,
        access_key_id=stack.s3_access_key_id,
        secret_access_key=stack.s3_secret_access_key,
    )
    s3.client.create_bucket(Bucket=s3.bucket)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.benchmarks.spend"])
    done = 0
    try:
        with serve(provider) as url:
            running: list[Any] = []
            while done < kills:
                while len(running) < 2:
                    running.append(
                        context.Process(target=spend, args=(s3.model_dump(), url, f"run{done}.{len(running)}"))
                    )
                    running[-1].start()
                victim = chance.choice(running)
                if not _wait_for_requests(provider, provider.requests + chance.randint(0, 8), victim):
                    raised = _ledger(s3).account().amount(PROJECT) + _CEILING
                    _ledger(s3).set_ceiling(PROJECT, raised, "the ceiling was reached", "bench")
                victim.join(chance.uniform(0.0, 0.3))
                if victim.is_alive():
                    victim.kill()
                    victim.join()
                done += victim.exitcode == -signal.SIGKILL
                running.remove(victim)
            for process in running:
                process.kill()
                process.join()
            return {"kills": float(done), **_compare(s3, provider, url)}
    finally:
        embedded.down(home)


def _wait_for_requests(provider: Provider, number: int, process: Any) -> bool:
    """Return whether the provider saw so many requests before the process ended and within 10 seconds."""
    for _ in range(200):
        if provider.requests >= number:
            return True
        if not process.is_alive():
            return False
        process.join(0.05)
    return False


def spend(s3: dict[str, Any], url: str, run: str) -> None:
    """Ask for everything, as one process."""
    opened = S3Resource(**s3)
    _ledger(opened).seal_stale(older_than=dt.timedelta(seconds=20))
    with _llm(opened, url, run) as llm:
        try:
            for _ in llm.ask(requests(_REQUESTS)):
                pass
        except SpendingStoppedError:
            time.sleep(1)


def _compare(s3: S3Resource, provider: Provider, url: str) -> dict[str, float]:
    """Reconcile with the provider's account, and count the differences."""
    ledger = _ledger(s3)
    ceiling = ledger.account().ceilings.get(PROJECT, _CEILING)
    overspend = max(Decimal(0), provider.usd - ceiling)
    provider.show_delayed()
    ledger.seal_stale(older_than=dt.timedelta(days=-1))
    with _llm(s3, url, "reconciler") as llm:
        left = ledger.reconcile(lambda call: llm.fate(call, absent=True))
    charged = {record.call: record.usd for record in ledger.settled() if record.usd}
    billed = {bill.call: bill.usd for bill in provider.bills}
    differ = {call for call in charged.keys() | billed.keys() if charged.get(call) != billed.get(call)}
    return {
        "billed calls": float(len(provider.bills)),
        "overspend USD": float(overspend),
        "calls paid twice": float(len(provider.paid_twice())),
        "calls that differ": float(len(differ) + left),
        "ledger minus bill USD": float(ledger.account().amount(PROJECT) - provider.usd),
    }


def _ledger(s3: S3Resource) -> Ledger:
    return Ledger(S3Store(s3), {PROJECT: _CEILING})


def _llm(s3: S3Resource, url: str, run: str) -> Llm:
    endpoint = Endpoint(url, MODEL, kind="LLM")
    completions = Completions(endpoint, Prices(BOOK, PROVIDER, MODEL), 4, finds_stored=True)
    spender = Spender(_ledger(s3), run, ASSET, MODEL, patience_seconds=2)
    return Llm(completions, spender, Answers(S3Store(s3), ASSET), requests=4, retry=AT_ONCE)
