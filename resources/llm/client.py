"""Ask a language model: bounded concurrency, one payment per request, under the ceilings of the ledger.

    find the answer ─► reserve ─► claim the request ─► record as sent ─► send ─► store the answer ─► settle

A crash at any arrow leaves a state that the next run resolves: an answer is found, a call that was not sent is sent,
and a call that may have been billed is looked up at the provider, or stays charged and unanswered.
"""

import datetime as dt
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from decimal import Decimal
from itertools import chain

from tenacity import Retrying

from resources.errors import PermanentFailure
from resources.llm.answers import Answers, Claim
from resources.llm.completions import CallFailedError, Completions, Kept
from resources.llm.endpoint import RETRY, BadRequestError, Billing, TransientEndpointError
from resources.llm.rate_limit import RateLimit
from resources.llm.request import Answer, Request, Unanswered, UnansweredError
from resources.spend.account import CeilingReachedError, LeaseSealedError
from resources.spend.ledger import settled
from resources.spend.log import ABSENT, Record
from resources.spend.spender import Spender

BATCH_CALL = "batch-"
"""How calls of batches begin in the ledger."""


class SpendingStoppedError(PermanentFailure):
    """A ceiling was reached. What was answered is kept; ``left`` requests were not sent."""

    def __init__(self, error: CeilingReachedError, left: int, likely_usd: Decimal, most_usd: Decimal) -> None:
        self.left, self.likely_usd, self.most_usd, self.scope = left, likely_usd, most_usd, error.scope
        costs = f"they would cost about ${likely_usd:.4f}, at most ${most_usd:.4f}"
        super().__init__(f"{error} {left:,} requests were not sent; {costs}.")


class BoundExceededError(PermanentFailure):
    """A provider billed more than the bound of a call: its tokens are not what they should be. Nothing more is sent."""


class Llm:
    """One model at one endpoint, for one run of one asset. Use it as a context manager.

    Without a ``spender`` the endpoint is free: you run it. Its calls are sent again after any transient failure.
    """

    def __init__(
        self,
        completions: Completions,
        spender: Spender | None,
        answers: Answers,
        *,
        requests: int = 8,
        rate_limit: RateLimit | None = None,
        retry: Retrying = RETRY,
    ) -> None:
        self.answers, self.model = answers, completions.endpoint.model
        self._completions, self._spender, self._requests = completions, spender, requests
        self._rate, self._retry = rate_limit or RateLimit(), retry
        self._stopped = threading.Event()
        self._paid, self._likely = Decimal(0), Decimal(0)

    def __enter__(self) -> "Llm":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what was not spent, and close the connections."""
        try:
            if self._spender is not None:
                self._spender.close()
        finally:
            self._completions.close()

    def find(self, request_ids: Sequence[str]) -> Iterator[Answer | Unanswered]:
        """Yield the stored answers of requests. Nothing else is awaited: an unanswered request may be sent now."""
        yield from (found for id_ in request_ids if isinstance(found := self.answers.find(id_), Answer))

    def forget(self, request_ids: Sequence[str]) -> None:
        """Delete answers that a table has taken in."""
        self.answers.forget(request_ids)

    def ask(self, requests: Sequence[Request]) -> Iterator[Answer | Unanswered]:
        """Yield an answer to each different request, as they come.

        Raises SpendingStoppedError at the end if a ceiling was reached; running requests are finished first. A request
        that the endpoint refuses is yielded as unanswered. Raises EndpointError for any other failure.
        """
        waiting = deque({request.id(self.model): request for request in requests}.items())
        running: dict[Future[Answer | Unanswered], Request] = {}
        reached: CeilingReachedError | None = None
        left: list[Request] = []
        with ThreadPoolExecutor(self._requests, thread_name_prefix="llm") as pool:
            try:
                while running or (waiting and not reached):
                    while waiting and not reached and len(running) < self._requests:
                        request_id, request = waiting.popleft()
                        running[pool.submit(self.answer, request_id, request)] = request
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        request = running.pop(future)
                        try:
                            found = future.result()
                        except CeilingReachedError as error:
                            reached = error
                            left.append(request)
                        else:
                            yield found
            finally:
                self._stopped.set()
        self._stopped.clear()
        if reached:
            raise self._stop(reached, [*left, *(request for _, request in waiting)])

    def answer(self, request_id: str, request: Request) -> Answer | Unanswered:
        """Return the answer to one request; send it if nobody has. Raises CeilingReachedError and EndpointError."""
        retry = self._retry.copy(sleep=self._stopped.wait)
        try:
            return retry(self._attempt, request_id, request)
        except BadRequestError as error:
            return Unanswered(request_id, str(error), is_final=True)
        except TransientEndpointError as error:
            attempts = retry.statistics["attempt_number"]
            raise TransientEndpointError(f"{error} It was tried {attempts} times.") from None

    def stream(self, request: Request) -> Generator[str]:
        """Yield the text of one answer as it comes. An answer from before comes whole.

        It is sent again, as ``answer`` does, until its first part has come. A reader that stops early leaves the call
        at its bound until it is reconciled. Raises UnansweredError, CeilingReachedError and EndpointError.
        """
        begun = self._retry.copy(sleep=self._stopped.wait)(self._begin, request)
        if isinstance(begun, Answer):
            yield begun.text
            return
        claim, parts = begun
        is_done = False
        try:
            for part in parts:
                if isinstance(part, str):
                    yield part
                else:
                    self._keep(claim, request, part)
                    is_done = True
        except CallFailedError as error:
            is_done = not self._fail(claim, error)
            raise error.error from None
        finally:
            if not is_done and self._spender is not None:
                self._spender.unknown(claim.call)

    def _begin(self, request: Request) -> Answer | tuple[Claim, Iterator[str | Kept]]:
        """Return the answer of a request from before, or its parts from now on."""
        claim = self._claimed(request.id(self.model), request)
        if isinstance(claim, Answer):
            return claim
        if isinstance(claim, Unanswered):
            raise UnansweredError(f"The request has no answer now: {claim.reason}.")
        self._rate.wait(request.most().input_tokens + request.max_tokens)
        parts = self._completions.stream(claim, request)
        try:
            return claim, chain([next(parts)], parts)
        except CallFailedError as error:
            if self._fail(claim, error) and self._spender is not None:
                self._spender.unknown(claim.call)
                raise UnansweredError(f"Nobody knows whether the call was billed: {error.error}") from None
            raise error.error from None

    def _attempt(self, request_id: str, request: Request) -> Answer | Unanswered:
        claim = self._claimed(request_id, request)
        if not isinstance(claim, Claim):
            return claim
        self._rate.wait(request.most().input_tokens + request.max_tokens)
        try:
            kept = self._completions.send(claim, request)
        except CallFailedError as error:
            if not self._fail(claim, error):
                raise error.error from None
            found = self._completions.look_up(claim)
            if found is None and self._spender is not None:
                self._spender.unknown(claim.call)
                return Unanswered(request_id, f"nobody knows whether it was billed: {error.error}")
            if found is None:
                raise error.error from None
            kept = found
        except BaseException:
            if self._spender is not None:
                self._spender.unknown(claim.call)
            raise
        return self._keep(claim, request, kept)

    def _fail(self, claim: Claim, failure: CallFailedError) -> bool:
        """Give back the money of a call that was not billed. Return whether it may have been."""
        if isinstance(failure.error, TransientEndpointError) and failure.error.retry_after_seconds:
            self._rate.pause(failure.error.retry_after_seconds)
        if failure.billing is Billing.UNKNOWN:
            return True
        if self._spender is not None:
            self._spender.refuse(claim.call)
        return False

    def _claimed(self, request_id: str, request: Request) -> Answer | Unanswered | Claim:
        """Return the answer of a request, or why it has none, or a claim to send it now."""
        while True:
            found = self.answers.find(request_id)
            if isinstance(found, Answer):
                return found
            if self._spender is None:
                return Claim(request_id, "", 1, account_ids=tuple(request.account_ids))
            if found is not None and (known := self._resolve(self._spender, found)) is not None:
                return known
            claim = self._reserve(self._spender, request_id, request, found)
            if claim is None:
                continue  # another run was faster
            try:
                self._spender.sent(claim.call, {"lane": "live"})
            except LeaseSealedError:
                continue  # reserve it under the next lease
            return claim

    def _reserve(self, spender: Spender, request_id: str, request: Request, before: Claim | None) -> Claim | None:
        attempt = before.attempt + 1 if before else 1
        call = f"{request_id}.{attempt}"
        lease = spender.reserve(call, self._completions.prices.bound(request, spender.now()))
        claim = Claim(request_id, lease, attempt, account_ids=tuple(request.account_ids))
        try:
            is_ours = self.answers.claim(claim, before)
        except BaseException:
            spender.cancel(call)
            raise
        if not is_ours:
            spender.cancel(call)
            return None
        return claim

    def _resolve(self, spender: Spender, claim: Claim) -> Answer | Unanswered | None:
        """Return what became of another attempt; None if the request may be sent again."""
        calls = spender.calls(claim.lease)
        if claim.call in calls.settled or (calls.sealed and claim.call not in calls.sent):
            return None
        found = self._completions.look_up(claim) if calls.sealed else None
        if found is None:
            fate = "nobody knows whether it was billed" if calls.sealed else "another run is sending it"
            return Unanswered(claim.id, fate)
        answer, record = found
        self.answers.put(answer)
        spender.ledger.settle_late(claim.lease, [record])
        return answer

    def _keep(self, claim: Claim, request: Request, kept: Kept) -> Answer:
        answer, record = kept
        self.answers.put(answer)
        if self._spender is None:
            return answer
        self._spender.settle(claim.call, record)
        now = self._spender.now()
        self._paid += record.usd
        self._likely += self._completions.prices.charge(request.likely(), now)
        bound = self._completions.prices.bound(request, now)
        if record.usd > bound:
            message = f"{self.model} billed ${record.usd} for a call of at most ${bound}: check its tokens and price."
            raise BoundExceededError(message)
        return answer

    def fate(self, call: str, *, absent: bool = False) -> Record | None:
        """Return how a call ended, by the provider's account. For `Ledger.reconcile`.

        Store its answer if the call still has its claim: without it, an account in the request was erased.

        ``absent``: a call that the provider does not have was not billed. Say so only when no call can be on its way.
        """
        request_id, _, attempt = call.rpartition(".")
        if request_id.startswith(BATCH_CALL):
            return None  # the run that takes the batch in settles it
        claim = self.answers.find(request_id)
        account_ids = claim.account_ids if claim is not None else ()
        found = self._completions.look_up(Claim(request_id, "", int(attempt), account_ids=account_ids))
        if found is not None:
            if claim is not None:
                self.answers.put(found[0])
            return found[1]
        return settled(call, Decimal(0), ABSENT) if absent else None

    def _stop(self, error: CeilingReachedError, left: Sequence[Request]) -> SpendingStoppedError:
        """Say what is left and its cost: by the sizes of the requests, corrected by what this run paid for others."""
        prices, now = self._completions.prices, self._spender.now() if self._spender else dt.datetime.now(dt.UTC)
        most = sum((prices.bound(request, now) for request in left), Decimal(0))
        likely = sum((prices.charge(request.likely(), now) for request in left), Decimal(0))
        if self._likely:
            likely *= self._paid / self._likely
        return SpendingStoppedError(error, len(left), min(likely, most), most)
