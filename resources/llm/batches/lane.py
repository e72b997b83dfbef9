"""The batch lane of an asset: requests go out in batches, and come back in a later run."""

import datetime as dt
import json
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from resources.llm.answers import Answers
from resources.llm.batches.book import ENDED, INTENT, UPLOADED, Job, Page, Wanted
from resources.llm.batches.jobs import Jobs
from resources.llm.batches.part import Part
from resources.llm.completions import CallFailedError
from resources.llm.endpoint import Billing, RequestTooLargeError
from resources.llm.lane import Lane
from resources.llm.request import Answer, Request, Unanswered
from resources.spend.account import CeilingReachedError, LeaseSealedError
from resources.spend.prices import Usage

_ENDPOINT = "/v1/chat/completions"
_OTHERS = "Another run is sending batches now."


class BatchLane:
    """One model's batches, for one run of a part of an asset. Use it as a context manager."""

    def __init__(self, jobs: Jobs, answers: Answers, model: str) -> None:
        self.model = model
        self._jobs, self._answers = jobs, answers
        self._has_looked = False
        self._seen: set[str] = set()

    def __enter__(self) -> "BatchLane":
        return self

    def __exit__(self, *_: object) -> None:
        self._jobs.close()

    def find(self, request_ids: Sequence[str]) -> Iterator[Answer | Unanswered]:
        """Yield the answers that came, single calls' too, and the requests that are still in a batch."""
        if request_ids:
            yield from self._known(set(request_ids))

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer | Unanswered]:
        """Yield what is known of the requests, and send the others in batches. Memory: their ids, and one request."""
        page = self._looked()
        if any(job.state == INTENT for job in page.jobs.values()):
            yield from (Unanswered(request.id(self.model), _OTHERS) for request in requests)
            return
        awaited = {id_ for job in page.jobs.values() for id_ in self._jobs.book.wanted(job.name)}
        stored = set(self._answers.ids())
        asked: set[str] = set()
        again: set[str] = set()

        def fresh() -> Iterator[tuple[str, Request]]:
            for request in requests:
                id_ = request.id(self.model)
                if id_ in asked or id_ in again:
                    continue
                if id_ in awaited or id_ in stored:
                    again.add(id_)
                else:
                    asked.add(id_)
                    yield id_, request

        with tempfile.TemporaryDirectory(prefix="cippus-batch-") as folder:
            yield from self._send(fresh(), Path(folder))
        yield from self._known(again)

    def forget(self, request_ids: Sequence[str]) -> None:
        """Delete answers that a table has taken in, and the record of batches of which nothing is left."""
        gone = set(request_ids)
        self._answers.forget(sorted(gone & set(self._answers.ids())))
        for job in self._looked().jobs.values():
            results = list(self._jobs.book.results(job.name)) if job.state == ENDED else []
            left = [result for result in results if result["id"] not in gone]
            if job.state == ENDED and not left:
                self._jobs.drop(job)
            elif len(left) < len(results):
                self._jobs.book.drop(job.name, "results/")
                self._jobs.book.put_results(job.name, left)

    def _looked(self) -> Page:
        """Bring all jobs forward, once for this run. Return the page as it is now."""
        if not self._has_looked:
            self._has_looked = True
            self._seen |= self._jobs.look().jobs.keys()
        return self._jobs.book.page()[0]

    def in_batches(self, ids: set[str]) -> Iterator[Answer | Unanswered]:
        """Yield what batches have of some requests: answers, refusals, and that one is still awaited."""
        for job in self._looked().jobs.values():
            if job.state != ENDED:
                yield from (
                    Unanswered(id_, f"It is in the batch {job.batch or job.name} ({job.outcome or job.state}).")
                    for id_ in self._jobs.book.wanted(job.name)
                    if id_ in ids
                )
                continue
            for result in self._jobs.book.results(job.name):
                if result["id"] in ids and "reason" in result:
                    yield Unanswered(result["id"], result["reason"], is_final=True)
                elif result["id"] in ids:
                    usage, accounts = Usage(**result["usage"]), tuple(result["account_ids"])
                    yield Answer(**{**result, "usage": usage, "account_ids": accounts})

    def _known(self, ids: set[str]) -> Iterator[Answer | Unanswered]:
        yield from self.in_batches(ids)
        for id_ in sorted(ids & set(self._answers.ids())):
            found = self._answers.find(id_)
            yield found if isinstance(found, Answer) else Unanswered(id_, "A single call for it has no known fate.")

    def _send(self, fresh: Iterator[tuple[str, Request]], folder: Path) -> Iterator[Unanswered]:
        """Write parts within the provider's limits, and send each when it is full."""
        limits, number = self._jobs.provider.limits, 0
        wanted: list[Wanted] = []
        size, path = 0, folder / "0"
        out = path.open("wb")
        try:
            for id_, request in fresh:
                line = self._line(id_, request)
                if wanted and (len(wanted) == limits.requests or size + len(line) > limits.size_bytes):
                    out.close()
                    yield from self._submit(Part(path, tuple(wanted)))
                    path.unlink()
                    number, size, wanted = number + 1, 0, []
                    path = folder / str(number)
                    out = path.open("wb")
                out.write(line)
                size += len(line)
                bound = self._jobs.prices.bound(request, self._now()) if self._jobs.spender else Decimal(0)
                wanted.append(Wanted(id_, str(bound), tuple(request.account_ids)))
        finally:
            out.close()
        if wanted:
            yield from self._submit(Part(path, tuple(wanted)))

    def _line(self, id_: str, request: Request) -> bytes:
        line = {"custom_id": id_, "method": "POST", "url": _ENDPOINT, "body": request.body(self.model)}
        return json.dumps(line).encode() + b"\n"

    def _submit(self, part: Part) -> Iterator[Unanswered]:
        """Send one part in a batch, or in two if it is too large. Yield each request as unanswered, and why."""
        page, now = self._jobs.book.page()
        if len(part.wanted) < self._jobs.provider.limits.least:
            yield from _unanswered(part.wanted, self._too_few(len(part.wanted)))
            return
        if page.rest_until and now < dt.datetime.fromisoformat(page.rest_until):
            yield from _unanswered(part.wanted, f"Batches failed; nothing is sent before {page.rest_until[:16]} UTC.")
            return
        job = Job(uuid.uuid4().hex[:16], len(part.wanted), str(part.bound), at=now.isoformat())
        try:
            job = self._reserved(job)
        except CeilingReachedError as error:
            yield from self._less(part, str(error))
            return
        if not self._added(job):
            self._give_up(job)
            yield from _unanswered(part.wanted, _OTHERS)
            return
        self._jobs.book.put_wanted(job.name, part.wanted)
        try:
            file = self._jobs.provider.upload(part.path, job.name)
        except CallFailedError as failure:
            self._give_up(job)
            if not isinstance(failure.error, RequestTooLargeError):
                yield from _unanswered(part.wanted, f"Not sent: {failure.error}")
            elif len(part.wanted) == 1:
                yield Unanswered(part.wanted[0].id, str(failure.error), is_final=True)
            else:
                for half in part.halves():
                    yield from self._submit(half)
            return
        yield from self._create(replace(job, state=UPLOADED, file=file), part)

    def _too_few(self, requests: int) -> str:
        least = self._jobs.provider.limits.least
        return f"A batch has at least {least} requests there, and {requests} wait here; single calls need no batch."

    def _added(self, job: Job) -> bool:
        """Put a job on record, unless another run has added one, which may hold the same requests."""

        def change(page: Page, at: str) -> Page:
            return page if page.jobs.keys() - self._seen - {job.name} else page.with_job(replace(job, at=at))

        self._seen |= {job.name} & self._jobs.book.update(change).jobs.keys()
        return job.name in self._seen

    def _create(self, job: Job, part: Part) -> Iterator[Unanswered]:
        """Record the file and the reservation, then send the request for a batch, once."""
        try:
            job = self._recorded_as_sent(job)
        except CeilingReachedError as error:
            self._give_up(job)
            yield from _unanswered(part.wanted, f"Not sent: {error}")
            return
        spender = self._jobs.spender
        try:
            batch = self._jobs.provider.create(job.file, job.name)
        except CallFailedError as failure:
            if failure.billing is Billing.NO:
                if spender is not None:
                    spender.refuse(job.call)
                self._give_up(job)
                yield from _unanswered(part.wanted, f"Not sent: {failure.error}")
            else:
                if spender is not None:
                    spender.unknown(job.call)
                yield from _unanswered(part.wanted, f"Nobody knows yet whether its batch began: {failure.error}")
            return
        except BaseException:
            if spender is not None:
                spender.unknown(job.call)
            raise
        if spender is not None:
            spender.unknown(job.call)  # the batch outlives this run; its bound stays charged until it ends
        self._jobs.started(job, batch)
        yield from _unanswered(part.wanted, f"It is in the batch {batch.id}.")

    def _reserved(self, job: Job) -> Job:
        """Reserve a job's bound under a lease. Raises CeilingReachedError."""
        spender = self._jobs.spender
        if spender is None:
            return job
        attempt = int(job.call.rpartition(".")[2]) + 1 if job.call else 1
        call = f"batch-{job.name}.{attempt}"
        return replace(job, call=call, lease=spender.reserve(call, Decimal(job.usd)))

    def _recorded_as_sent(self, job: Job) -> Job:
        """Record the job's file and lease, and its call as sent. Raises CeilingReachedError."""
        while True:
            self._jobs.book.update(lambda page, at, job=job: page.with_job(replace(job, at=at)))  # type: ignore[misc]
            if self._jobs.spender is None:
                return job
            try:
                self._jobs.spender.sent(job.call, {"lane": "batch"})
            except LeaseSealedError:
                job = self._reserved(job)
            else:
                return job

    def _give_up(self, job: Job) -> None:
        """Free the money of a job that no batch was made for, and forget it."""
        if self._jobs.spender is not None:
            with suppress(KeyError):
                self._jobs.spender.cancel(job.call)
        with suppress(CallFailedError):  # the next run deletes its files, and forgets it
            self._jobs.abandon(job)

    def _less(self, part: Part, reason: str) -> Iterator[Unanswered]:
        """Send as much of a part as the ceiling allows, the first half at most."""
        if len(part.wanted) == 1:
            yield from _unanswered(part.wanted, f"Not sent: {reason}")
            return
        first, second = part.halves()
        yield from self._submit(first)
        yield from _unanswered(second.wanted, f"Not sent: {reason}")

    def _now(self) -> dt.datetime:
        return self._jobs.spender.now() if self._jobs.spender else dt.datetime.now(dt.UTC)


class SingleCalls:
    """The lane of single calls while batches of earlier runs are open: what they hold is awaited, not sent again."""

    def __init__(self, calls: Lane, batches: BatchLane) -> None:
        self.model = calls.model
        self._calls, self._batches = calls, batches

    def find(self, request_ids: Sequence[str]) -> Iterator[Answer | Unanswered]:
        """Yield the answers that came, and the requests that are still in a batch."""
        yield from self._batches.in_batches(set(request_ids))
        yield from self._calls.find(request_ids)

    def ask(self, requests: Sequence[Request]) -> Iterator[Answer | Unanswered]:
        """Yield what batches have of the requests, and send the others one by one."""
        ids = {request.id(self.model) for request in requests}
        known = {found.id: found for found in self._batches.in_batches(ids)}
        yield from known.values()
        yield from self._calls.ask([request for request in requests if request.id(self.model) not in known])

    def forget(self, request_ids: Sequence[str]) -> None:
        """Delete answers that a table has taken in."""
        self._batches.forget(request_ids)


def _unanswered(wanted: Iterable[Wanted], reason: str) -> Iterator[Unanswered]:
    return (Unanswered(each.id, reason) for each in wanted)
