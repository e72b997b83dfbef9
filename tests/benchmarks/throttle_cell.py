"""One cell of the throttle bench: a client in one or more processes against the limited server, and its verdict."""

import hashlib
import io
import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import boto3
import obstore
import polars as pl
from deltalake import write_deltalake
from obstore.store import S3Store

from resources.s3 import write_verifier
from resources.s3.governor.process import Governor
from tests.benchmarks.governor_process import GOVERNED_ENDPOINT, GovernorProcess, governor
from tests.benchmarks.limited_s3 import RunningServer
from tests.benchmarks.limited_s3.counts import BIN_SECONDS
from tests.benchmarks.throttle_clients import RACE, delta_appends
from tests.benchmarks.throttle_load import (
    ACCESS_KEY_ID,
    BUCKET,
    GRACE_SECONDS,
    REGION,
    SECRET_ACCESS_KEY,
    Door,
    PhaseResult,
    content,
    frame,
)

FAULTS = {"errors": 0.01, "resets": 0.005, "slow": 0.01, "slow_seconds": 3.0}
NO_FAULTS = {"errors": 0.0, "resets": 0.0, "slow": 0.0}
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Cell:
    """The parameters of a cell. Rates are per prefix of the server; depths are numbers of path segments.

    ``signed`` is whether the server checks signatures. Without signatures, the governor itself can read an object to
    find out whether a conditional put was applied; with them, faulty cells have a write verifier.
    """

    client: str
    processes: int = 2
    writes: float = 100
    reads: float = 150
    governed: bool = True
    faulty: bool = False
    server_depth: int = 1
    governor_depth: int = 1
    prefixes: tuple[str, ...] = ("data",)
    virtual_host: bool = False
    signed: bool = True
    kind: str = ""
    seconds: float = 10.0

    @property
    def label(self) -> str:
        """The name of the cell in figures, such as boto3_2x_20w_30r_governed."""
        parts = [self.client, f"{self.processes}x", f"{self.writes:g}w", f"{self.reads:g}r", self.kind]
        return "_".join(part for part in (*parts, "governed" if self.governed else "direct") if part)

    def limited_prefixes(self) -> int:
        """Return the number of server prefixes that the cell's prefixes belong to."""
        return len({tuple(prefix.split("/")[: self.server_depth]) for prefix in self.prefixes})


@dataclass
class Verdict:
    """The result of a cell. Goodput is between 0 and 1 per phase; ``errors`` counts operations by exception type.

    ``idle`` is the idle share of the machine's cores in each phase: near 0, the cores were the limit.
    """

    cell: Cell
    attempts: int = 0
    lost: int = 0
    twice: int = 0
    answers: int = 0
    throttled: int = 0
    write_goodput: float = 0.0
    read_goodput: float = 0.0
    idle: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def goodput(self) -> float:
        """Mean of the phases (a race has one)."""
        if self.cell.prefixes[0] == RACE:
            return self.write_goodput
        return (self.write_goodput + self.read_goodput) / 2

    @property
    def wasted(self) -> float:
        """Share of 503s among the server's responses."""
        return self.throttled / max(1, self.answers)

    def add(self, result: PhaseResult) -> None:
        """Add the result of one process."""
        self.attempts += result.attempts
        self.lost += result.lost
        for name, error in result.failed.items():
            kind = error.partition(":")[0]
            self.errors[kind] += 1
            self.examples.setdefault(kind, f"{name[:80]}: {error}")


def run_cell(cell: Cell, server: RunningServer) -> Verdict:
    """Empty the server, then run a write phase and a read phase, each with its own counts."""
    server.change(limits={"writes_per_second": None, "reads_per_second": None}, faults=NO_FAULTS)
    server.clear()
    direct = Door(cell.client, server.url)
    if cell.prefixes[0] == RACE:
        path, options = f"s3://{BUCKET}/{cell.prefixes[0]}", direct.storage_options()
        write_deltalake(path, frame("start"), storage_options=options)
    verdict, written = Verdict(cell), list[str]()
    with ExitStack() as stack:
        proxy = ""
        if cell.governed:
            governing = stack.enter_context(governor(server.url, cell.governor_depth))
            proxy = governing.url
            if cell.faulty and cell.signed:
                _start_verifier(governing, server.url)
        endpoint = GOVERNED_ENDPOINT if cell.governed else server.url
        doors = [
            Door(cell.client, endpoint, proxy, cell.virtual_host, cell.prefixes, process)
            for process in range(cell.processes)
        ]
        processes = [stack.enter_context(_client(door)) for door in doors]
        for process in processes:
            _answer_of(process, _START_SECONDS)
        server.change(
            limits={"writes_per_second": cell.writes, "reads_per_second": cell.reads, "depth": cell.server_depth},
            faults=FAULTS if cell.faulty else NO_FAULTS,
        )
        for phase in ("write",) if cell.prefixes[0] == RACE else ("write", "read"):
            written += _run_phase(phase, verdict, server, processes)
    server.change(limits={"writes_per_second": None, "reads_per_second": None}, faults=NO_FAULTS)
    check_directly(verdict, server, direct, written)
    return verdict


def _start_verifier(governing: GovernorProcess, upstream: str) -> None:
    """Start a write verifier in this process, as S3Resource does in each run."""
    with tempfile.TemporaryDirectory(prefix="cippus-") as folder:  # only a name: the governor keeps nothing
        found = Governor(Path(folder), governing.pid, governing.port, upstream, "")
    keys = {"aws_access_key_id": ACCESS_KEY_ID, "aws_secret_access_key": SECRET_ACCESS_KEY, "region_name": REGION}
    write_verifier.start(found, lambda: boto3.client("s3", endpoint_url=upstream, **keys))  # type: ignore[call-overload]


def _run_phase(
    phase: str, verdict: Verdict, server: RunningServer, processes: list[subprocess.Popen[str]]
) -> list[str]:
    cell, written, idle_before = verdict.cell, list[str](), _core_seconds()
    server.reset()
    for process in processes:
        if process.stdin is not None:
            process.stdin.write(json.dumps({"phase": phase, "seconds": cell.seconds}) + "\n")
            process.stdin.flush()
    for process in processes:
        answer = _answer_of(process, cell.seconds + GRACE_SECONDS + _START_SECONDS)
        verdict.add(PhaseResult(**answer))
        written += answer["written"]
    idle, total = (after - before for after, before in zip(_core_seconds(), idle_before, strict=True))
    verdict.idle.append(idle / max(1.0, total))
    stats = server.stats()
    verdict.answers += stats["totals"]["answers"]
    verdict.throttled += stats["totals"]["throttled"]
    verdict.twice += sum(not name.endswith("_last_checkpoint") for name in stats["written_twice"])
    if phase == "write":
        verdict.write_goodput = goodput(stats, cell)
    else:
        verdict.read_goodput = goodput(stats, cell)
    return written


def _core_seconds() -> tuple[float, float]:
    """Return idle and total time of all cores so far, in the kernel's ticks (Linux)."""
    ticks = [float(part) for part in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def goodput(stats: dict[str, Any], cell: Cell) -> float:
    """Return accepted requests as a share of what the limits allow until the last accepted operation.

    Uses the verb with the higher share, because Delta's appends read too. The server's burst allows a little over 1.
    """
    accepted, bins = Counter[str](), 0
    for line in stats["timelines"]:
        accepted[line["verb"]] += sum(line["accepted"])
        bins = max(bins, len(line["accepted"]))
    allowed = max(cell.seconds, bins * BIN_SECONDS) * cell.limited_prefixes()
    return max(accepted["write"] / (cell.writes * allowed), accepted["read"] / (cell.reads * allowed))


def check_directly(verdict: Verdict, server: RunningServer, direct: Door, written: list[str]) -> None:
    """Check on the server, without the governor, that all acknowledged writes exist."""
    if verdict.cell.client == "deltalake":
        missing = _delta_missing(verdict, server, direct, written)
    elif verdict.cell.client == "polars":
        endpoint = {"endpoint": server.url, "client_options": {"allow_http": True}}
        options = direct.storage_options()
        keys = {name: options[f"aws_{name}"] for name in ("access_key_id", "secret_access_key", "region")}
        store = S3Store(BUCKET, **endpoint, **keys)  # type: ignore[arg-type]
        missing = [name for name in written if not _is_parquet_of(store, name)]
    else:
        there = {name.partition("/")[2]: etag for name, (_, _, etag) in server.keys(f"{BUCKET}/").items()}
        right = (hashlib.md5(content(name), usedforsecurity=False).hexdigest() for name in written)
        missing = [name for name, etag in zip(written, right, strict=True) if there.get(name) != etag]
    verdict.lost += len(missing)
    if missing:
        verdict.errors["MissingOrWrong"] += len(missing)
        verdict.examples["MissingOrWrong"] = missing[0]


def _is_parquet_of(store: S3Store, name: str) -> bool:
    try:
        return pl.read_parquet(io.BytesIO(obstore.get(store, name).bytes())).equals(frame(name))
    except (FileNotFoundError, pl.exceptions.PolarsError):
        return False


def _delta_missing(verdict: Verdict, server: RunningServer, direct: Door, written: list[str]) -> list[str]:
    """Return appends that are missing in their table. Duplicates and commits without an append count as twice."""
    missing: list[str] = []
    for table in sorted({name.partition("#")[0] for name in written}):
        found = delta_appends(table, direct.storage_options())
        found.pop("start", None)
        missing += [name for name in written if name.startswith(f"{table}#") and name not in found]
        log = server.keys(f"{BUCKET}/{table}/_delta_log/")
        commits = sum(name.endswith(".json") for name, (_, _, etag) in log.items() if etag is not None)
        expected = len(found) + (verdict.cell.prefixes[0] == RACE)
        verdict.twice += sum(times != 1 for times in found.values()) + max(0, commits - expected)
    return missing


@contextmanager
def _client(door: Door) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.benchmarks.throttle_clients", json.dumps(asdict(door))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _answer_of(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """Return a process' next line. A late process is killed and counts as one lost operation."""
    late = threading.Timer(seconds, process.kill)
    late.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
    finally:
        late.cancel()
    if not line:
        return asdict(PhaseResult(attempts=1, lost=1, failed={"process": f"Died: no answer in {seconds:.0f} s"}))
    return dict(json.loads(line))
