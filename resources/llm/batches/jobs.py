"""Bring the jobs of a book forward: what a crash left is resolved with the provider, and ended batches are taken in."""

import datetime as dt
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from resources.llm.batches.book import ENDED, INTENT, RUNNING, UPLOADED, Book, Job, Page
from resources.llm.batches.provider import BatchProvider, RemoteBatch
from resources.llm.batches.results import LOST, Reading, rest_of
from resources.llm.completions import CallFailedError, Prices
from resources.llm.endpoint import PermanentEndpointError
from resources.spend.ledger import settled
from resources.spend.log import ABSENT, BILLED, REFUSED, Record
from resources.spend.spender import Spender

_GRACE, _STALE, _LOOKS, _KEPT = dt.timedelta(minutes=10), dt.timedelta(minutes=2), 3, dt.timedelta(days=30)
"""After the grace, a batch that no list shows is not coming. A process that wrote nothing for so long is dead. Answers
that cannot be read whole are downloaded so often. Results that nobody asks for are deleted after so long."""
_REST = dt.timedelta(minutes=30)


@dataclass(frozen=True)
class Jobs:
    """The jobs of one part of an asset, with what is needed to bring them forward. ``spender`` is None if tokens are
    free. ``prices`` are those of the batch lane."""

    book: Book
    provider: BatchProvider
    prices: Prices
    spender: Spender | None

    def close(self) -> None:
        """Give back what was not spent, and close the connections."""
        try:
            if self.spender is not None:
                self.spender.close()
        finally:
            self.provider.close()

    def look(self) -> Page:
        """Ask the provider about every job that has not ended, once. Return the page.

        A job whose question fails stays as it is, and its outcome says why.
        """
        if self.spender is not None:
            self.spender.ledger.seal_stale(keep=frozenset({self.spender.lease}))
        page, now = self.book.page()
        for job in page.jobs.values():
            try:
                self._forward(job, now)
            except CallFailedError as failure:
                self._set(replace(job, outcome=f"not known now: {failure.error}"))
        return self.book.page()[0]

    def abandon(self, job: Job) -> None:
        """Forget a job that no batch was made for. Its files at the provider go first."""
        for file in {*self.provider.files_of(job.name), *([job.file] if job.file else [])}:
            self.provider.delete(file)
        self.book.drop(job.name)
        self.book.update(lambda page, _now: page.without(job.name))

    def _forward(self, job: Job, now: dt.datetime) -> None:
        if job.state in (INTENT, UPLOADED):
            self._resolve(job, now)
        elif job.state == RUNNING:
            self._ask(job)
        elif job.delete:
            self._tidy(job)
        elif job.state == ENDED and job.age(now) > _KEPT:
            self.drop(job)

    def _resolve(self, job: Job, now: dt.datetime) -> None:
        """Find out whether a batch was made, after the process that made it has ended."""
        is_sent, is_dead, is_settled = self._fate(job, now)
        if is_settled or (is_dead and not is_sent):
            self.abandon(job)
        elif is_dead:
            found = self._found(job)
            if found is None and job.age(now) > _GRACE:
                self.provider.delete(job.file)  # without its file no batch can begin any more
                found = self._found(job)
                if found is None:
                    self._settle(job, [settled(job.call, Decimal(0), ABSENT, lane="batch")])
                    self.abandon(job)
            if found is not None:
                self.started(job, found)

    def _fate(self, job: Job, now: dt.datetime) -> tuple[bool, bool, bool]:
        """Return whether the request for a batch was sent perhaps, its process is dead, and the call is settled."""
        if self.spender is None:
            return job.state == UPLOADED, job.age(now) > _STALE, False
        calls = self.spender.calls(job.lease)
        return job.call in calls.sent, calls.sealed, job.call in calls.settled

    def _found(self, job: Job) -> RemoteBatch | None:
        """Return the job's batch among all of the account, by our name for it, or by its input file."""
        since = dt.datetime.fromisoformat(job.at)
        for batch in self.provider.batches(since):
            if batch.job == job.name or (job.file and batch.input_file == job.file):
                return batch
        return None

    def started(self, job: Job, batch: RemoteBatch) -> None:
        """Record the batch of a job."""
        self._set(replace(job, state=RUNNING, batch=batch.id))

    def _ask(self, job: Job) -> None:
        try:
            batch = self.provider.batch(job.batch)
        except CallFailedError as failure:
            if not _is_gone(failure):
                raise
            batch = RemoteBatch(job.batch, "completed", job.file)  # forgotten there, with its answers
        if batch.is_ended:
            self._take_in(job, batch)
        elif batch.state != job.outcome:
            self._set(replace(job, outcome=batch.state))

    def _take_in(self, job: Job, batch: RemoteBatch) -> None:
        """Store the answers of an ended batch, then settle it, then delete its files at the provider.

        A crash in between repeats it: results and settlements are the same.
        """
        wanted, at, read = self.book.wanted(job.name), batch.created_at or dt.datetime.fromisoformat(job.at), Reading()
        records: list[Record] = []

        def kept(found: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
            for result in found:
                usage = result["usage"]
                tokens = {name: usage[name] for name in ("input_tokens", "output_tokens")}
                records.append(settled(f"{result['id']}.{job.name}", Decimal(result["usd"]), lane="batch", **tokens))
                if not wanted[result["id"]].is_erased:
                    yield result

        with tempfile.TemporaryDirectory(prefix="cippus-batch-") as folder:
            paths = [Path(folder) / str(number) for number in range(len(batch.files))]
            for file, path in zip(batch.files, paths, strict=True):
                self.provider.download(file, path)
            self.book.drop(job.name, "results/")
            self.book.put_results(job.name, kept(read.results(paths, wanted, self.prices, at)))
        rest = rest_of(read, batch, wanted, self.prices, at)
        if not rest.is_whole and job.looks + 1 < _LOOKS:
            self._set(replace(job, looks=job.looks + 1, outcome=f"{batch.state}, with answers missing"))
            return
        self.book.put_results(job.name, _without_answers(rest.lost, rest.refused), "others")
        usd = rest.usd + read.usd - sum((record.usd for record in records), Decimal(0))
        self._settle(job, [*records, settled(job.call, usd, BILLED if usd else REFUSED, lane="batch")])
        files = (batch.input_file or job.file, *batch.files)
        words = f"{batch.state}: {len(records):,} of {len(wanted):,} answered" + f"; {batch.errors}" * bool(
            batch.errors
        )
        done = replace(job, state=ENDED, outcome=words, delete=tuple(file for file in files if file))
        self._set(done, is_failed=not records)
        self._tidy(done)

    def _tidy(self, job: Job) -> None:
        for file in job.delete:
            self.provider.delete(file)
        self._set(replace(job, delete=()))

    def drop(self, job: Job) -> None:
        """Delete a job that ended, with its results."""
        self.book.drop(job.name)
        self.book.update(lambda page, _now: page.without(job.name))

    def _settle(self, job: Job, records: list[Record]) -> None:
        if self.spender is not None and job.lease:
            self.spender.ledger.settle_late(job.lease, records)

    def _set(self, job: Job, *, is_failed: bool | None = None) -> None:
        """Record a job's state, unless the job is gone. After batches without any answer, the next one has to wait."""

        def change(page: Page, now: str) -> Page:
            if job.name not in page.jobs:
                return page
            page = page.with_job(replace(job, at=now if job.state != page.jobs[job.name].state else job.at))
            if is_failed is None:
                return page
            failures = page.failures + 1 if is_failed else 0
            until = dt.datetime.fromisoformat(now) + _REST * 2 ** min(failures, 6)
            return replace(page, failures=failures, rest_until=until.isoformat() if is_failed else "")

        self.book.update(change)


def _is_gone(failure: CallFailedError) -> bool:
    """Return whether a provider says that it has no such batch."""
    return isinstance(failure.error, PermanentEndpointError) and " 404 " in str(failure.error)


def _without_answers(lost: tuple[str, ...], refused: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for ids, reason in ((lost, LOST), (refused, "The provider refuses the request.")):
        yield from ({"id": id_, "reason": reason} for id_ in ids)
