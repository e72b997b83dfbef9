"""Send 100,000 accounts in batches and take their answers in: the memory, beside that of 10,000."""

import datetime as dt
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from rich.console import Console

from resources.llm.answers import Answers
from resources.llm.batches.book import Book
from resources.llm.batches.jobs import Jobs
from resources.llm.batches.lane import BatchLane
from resources.llm.batches.provider import Limits, RemoteBatch
from resources.llm.request import Answer, Message, Request
from resources.spend.ledger import Ledger
from resources.spend.prices import Usage
from resources.spend.spender import Spender
from tests.benchmarks import BenchResult, Target
from tests.fakes.spend_store import START, MemoryStore
from tests.worlds.batches import PRICES
from tests.worlds.spend import MODEL

ACCOUNTS, FEW, _PROMPT = 100_000, 10_000, "a post about food, travel and sport. " * 80
_MOST_MIB = 400.0
_USAGE = Usage(750, 100)


def measure(_home: Path, console: Console, accounts: int = ACCOUNTS) -> BenchResult:
    """Measure each size in a process of its own."""
    figures: dict[str, float] = {}
    for size in (min(FEW, accounts), accounts):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(_measured, (size,))
        console.print(f"{size:,} accounts: {found}", highlight=False)
        figures |= {f"{name} at {size}": value for name, value in found.items()}
    peak = f"peak MiB beyond the imports at {accounts}"
    return BenchResult("batches", figures, {peak: Target.at_most(_MOST_MIB, figures[peak])})


def _measured(size: int) -> dict[str, float]:
    before, started = _peak_mib(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cippus-batches-") as folder:
        store, provider = DiskStore(Path(folder) / "store"), DiskProvider(Path(folder))
        ledger = Ledger(store, {"project": Decimal(10**6)})
        asset = "summary/x"

        def lane() -> BatchLane:
            jobs = Jobs(Book(store, asset, "0"), provider, PRICES, Spender(ledger, "r", asset, MODEL, 0))
            return BatchLane(jobs, Answers(store, asset), MODEL)

        with lane() as opened:
            sent = [found.id for found in opened.ask(requests(size))]
        sending = time.monotonic() - started
        with lane() as opened:
            answered = sum(isinstance(found, Answer) for found in opened.find(sent))
        assert answered == size
        charged = ledger.account().amount("project")
        assert charged == PRICES.charge(_USAGE, START) * size
    return {
        "peak MiB beyond the imports": round(_peak_mib() - before, 1),
        "batches": float(provider.batches_made),
        "seconds to send": round(sending, 1),
        "seconds in all": round(time.monotonic() - started, 1),
    }


def requests(size: int) -> Iterator[Request]:
    """Yield requests of 3 kB, one at a time."""
    for number in range(size):
        yield Request([Message("user", f"{number} {_PROMPT}")], 200, account_ids=(f"account-{number}",))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class DiskStore(MemoryStore):
    """The store with the bodies of large objects on disk, so that they do not count as memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir()
        self.objects = _OnDisk(folder)


class _OnDisk(dict[str, bytes]):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._names = folder, dict[str, Path]()

    def __setitem__(self, key: str, body: bytes) -> None:
        super().__setitem__(key, b"")
        path = self._names.setdefault(key, self._folder / str(len(self._names)))
        path.write_bytes(body)

    def __getitem__(self, key: str) -> bytes:
        super().__getitem__(key)
        return self._names[key].read_bytes()

    def get(self, key: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
        return self[key] if key in self.keys() else default


class DiskProvider:
    """A batch API whose files are on disk. Every batch has ended when it is looked at."""

    limits = Limits()

    def __init__(self, folder: Path) -> None:
        self._folder, self.batches_made = folder, 0

    def close(self) -> None:
        pass

    def upload(self, path: Path, job: str) -> str:
        shutil.copyfile(path, self._folder / job)
        return job

    def create(self, file_id: str, _job: str) -> RemoteBatch:
        self.batches_made += 1
        with (self._folder / file_id).open() as lines, (self._folder / f"{file_id}.out").open("w") as out:
            for number, line in enumerate(lines):
                message = {"message": {"content": '{"claims": []}'}, "finish_reason": "stop"}
                usage = {"prompt_tokens": _USAGE.input_tokens, "completion_tokens": _USAGE.output_tokens}
                body = {"id": f"{file_id}-{number}", "created": 1, "choices": [message], "usage": usage}
                answer = {"custom_id": json.loads(line)["custom_id"], "response": {"status_code": 200, "body": body}}
                out.write(json.dumps(answer) + "\n")
        return RemoteBatch(file_id, "in_progress", file_id)

    def batch(self, batch_id: str) -> RemoteBatch:
        return RemoteBatch(batch_id, "completed", batch_id, (f"{batch_id}.out",), created_at=START)

    def batches(self, _since: dt.datetime) -> Iterator[RemoteBatch]:
        return iter(())

    def cancel(self, _batch_id: str) -> None:
        pass

    def download(self, file_id: str, path: Path) -> None:
        shutil.copyfile(self._folder / file_id, path)

    def files_of(self, _job: str) -> list[str]:
        return []

    def delete(self, file_id: str) -> None:
        (self._folder / file_id).unlink(missing_ok=True)
