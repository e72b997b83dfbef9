"""The record of batches on the store: one object for each part of an asset, changed by conditional writes only.

    intent ──► uploaded ──► running ──► ended

A job is on record before anything is sent for it, so that after a crash each state says what to ask the provider.
"""

import datetime as dt
import json
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from resources.errors import TransientFailure
from resources.spend.store import Store, UncertainWriteError

FOLDER = "llm/batches"
INTENT, UPLOADED, RUNNING, ENDED = "intent", "uploaded", "running", "ended"
_ATTEMPTS, _LINES_AN_OBJECT = 100, 5_000


class BookUnavailableError(TransientFailure):
    """The record of batches does not accept a write."""


@dataclass(frozen=True)
class Job:
    """One batch. ``lease`` and ``call`` name its reservation in the ledger, blank for a free endpoint. ``usd``: the
    bound. ``looks``: how often its answers could not be read whole. ``at``: when its state changed, by the store."""

    name: str
    requests: int
    usd: str
    state: str = INTENT
    lease: str = ""
    call: str = ""
    file: str = ""
    batch: str = ""
    outcome: str = ""
    looks: int = 0
    at: str = ""
    delete: tuple[str, ...] = ()

    def age(self, now: dt.datetime) -> dt.timedelta:
        """Return the time since its state changed."""
        return now - dt.datetime.fromisoformat(self.at)


@dataclass(frozen=True)
class Page:
    """The jobs of one part of an asset. ``rest_until``: nothing is sent before, because batches failed."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    failures: int = 0
    rest_until: str = ""
    writer: str = ""

    def with_job(self, job: Job) -> "Page":
        """Return the page with a job, new or in another state."""
        return replace(self, jobs={**self.jobs, job.name: job})

    def without(self, name: str) -> "Page":
        """Return the page without a job."""
        return replace(self, jobs={key: job for key, job in self.jobs.items() if key != name})


@dataclass(frozen=True)
class Wanted:
    """A request of a job: its bound in USD, and the accounts whose texts it contains; none if one was erased since."""

    id: str
    usd: str
    account_ids: tuple[str, ...]
    is_erased: bool = False


class Book:
    """The jobs of one part of an asset, such as one bucket."""

    def __init__(self, store: Store, asset: str, scope: str) -> None:
        self._store, self.folder = store, f"{FOLDER}/{asset}/{scope}"

    def page(self) -> tuple[Page, dt.datetime]:
        """Return the jobs now, and the store's time."""
        found = self._store.get(self._key)
        if found is None:
            self._store.create(self._key, _encoded(Page()))
            return self.page()
        return _decoded(found.body), found.at

    def update(self, change: Callable[[Page, str], Page]) -> Page:
        """Apply a pure change, which gets the page and the store's time. It may be applied again."""
        writer = uuid.uuid4().hex
        for attempt in range(_ATTEMPTS):
            found = self._store.get(self._key)
            try:
                if found is None:
                    self._store.create(self._key, _encoded(Page()))
                    continue
                page = _decoded(found.body)
                if page.writer == writer:
                    return page  # the answer of our write was lost
                changed = change(page, found.at.isoformat())
                if changed == page:
                    return page
                changed = replace(changed, writer=writer)
                if self._store.replace(self._key, _encoded(changed), found.etag) is not None:
                    return changed
            except UncertainWriteError:
                pass
            time.sleep(random.uniform(0, min(0.001 * 2**attempt, 0.2)))  # noqa: S311 -- spreads racing writers
        raise BookUnavailableError(f"{self._key} was changed by others {_ATTEMPTS} times. Run it again later.")

    def put_wanted(self, name: str, wanted: Sequence[Wanted]) -> None:
        """Write the requests of a job."""
        self._put_lines(f"{self.folder}/{name}/requests", [asdict(each) for each in wanted])

    def wanted(self, name: str) -> dict[str, Wanted]:
        """Return request id → request of a job."""
        lines = self._lines(f"{self.folder}/{name}/requests/")
        return {line["id"]: Wanted(**{**line, "account_ids": tuple(line["account_ids"])}) for line in lines}

    def put_results(self, name: str, results: Iterable[dict[str, Any]], part: str = "answers") -> None:
        """Write a part of the results of a job, in objects of _LINES_AN_OBJECT lines."""
        self._put_lines(f"{self.folder}/{name}/results/{part}", results)

    def results(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the results of a job."""
        return self._lines(f"{self.folder}/{name}/results/")

    def drop(self, name: str, part: str = "") -> None:
        """Delete the objects of a job, or a part of them."""
        self._store.delete(list(self._store.keys(f"{self.folder}/{name}/{part}")))

    def _put_lines(self, prefix: str, lines: Iterable[dict[str, Any]]) -> None:
        part: list[bytes] = []
        number = 0
        for line in lines:
            part.append(json.dumps(line).encode())
            if len(part) == _LINES_AN_OBJECT:
                self._store.put(f"{prefix}/{number:05d}.jsonl", b"\n".join(part))
                part, number = [], number + 1
        if part:
            self._store.put(f"{prefix}/{number:05d}.jsonl", b"\n".join(part))

    def _lines(self, prefix: str) -> Iterator[dict[str, Any]]:
        for key in sorted(self._store.keys(prefix)):
            found = self._store.get(key)
            yield from map(json.loads, found.body.splitlines() if found else ())

    @property
    def _key(self) -> str:
        return f"{self.folder}/jobs.json"


def books(store: Store) -> Iterator[tuple[str, str, Book]]:
    """Yield (asset, scope, book) of everything that was ever sent in batches."""
    for key in sorted(store.keys(f"{FOLDER}/")):
        if key.endswith("/jobs.json"):
            asset, _, scope = key.removeprefix(f"{FOLDER}/").removesuffix("/jobs.json").rpartition("/")
            yield asset, scope, Book(store, asset, scope)


def is_empty(store: Store, book: Book) -> bool:
    """Return whether nothing is in a batch. Costs one request, and writes nothing."""
    return not any(True for _ in store.keys(f"{book.folder}/")) or not book.page()[0].jobs


def _encoded(page: Page) -> bytes:
    return json.dumps(asdict(page)).encode()


def _decoded(body: bytes) -> Page:
    found = json.loads(body)
    jobs = {name: Job(**{**job, "delete": tuple(job["delete"])}) for name, job in found["jobs"].items()}
    return Page(jobs, found["failures"], found["rest_until"], found["writer"])
