"""Writes whose response was lost and that must not simply be retried: find out whether they were applied."""

import asyncio
import hashlib
import itertools
import re
import time
from binascii import unhexlify
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from resources.s3.governor.s3_request import Replay, S3Request

_MAX_REMEMBERED = 256
_REMEMBERED_SECONDS = 300.0
"""Longer than any client retries a write (object_store gives up after 180 s). A later equal put is another's."""
_PART_ETAG = re.compile(rb"<ETag>\s*(?:&quot;|&#34;|\")?([0-9a-fA-F]{32})(?:&quot;|&#34;|\")?\s*</ETag>")
_VERIFIER_SECONDS = 5.0
"""How long a question waits for its answer, and how long a busy verifier counts as present."""
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class ObjectState:
    """What is stored under a key: its entity tag ("" if there is no object), and its content's SHA-256 if read."""

    etag: str
    sha256: str = ""


@dataclass(frozen=True)
class Write:
    """A conditional put or the completion of a multipart upload.

    ``writer`` is equal for a client's own retries of a request.
    """

    request: S3Request
    body: bytes = field(repr=False)
    writer: str = ""

    @cached_property
    def content(self) -> tuple[str, str, str]:
        """Bucket, key and SHA-256: equal for writers that write the same."""
        return (self.request.bucket, self.request.key, hashlib.sha256(self.body).hexdigest())

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for retries of the same write."""
        return (*self.content, self.writer)

    @cached_property
    def etag(self) -> str:
        """The quoted entity tag of the object if this write was applied without KMS encryption."""
        if self.request.replay is Replay.COMPLETION:
            parts = [unhexlify(found) for found in _PART_ETAG.findall(self.body)]
            return f'"{hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"'
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'

    def refused_as_if_applied(self, status: int) -> bool:
        """Return whether the first attempt's success would cause a retry to fail with this status."""
        return status == (404 if self.request.replay is Replay.COMPLETION else 412)

    def matches(self, found: ObjectState) -> bool | None:
        """Return whether an object is this write's result; None if ``found`` does not tell.

        Under KMS encryption an entity tag is no hash of the content, so a put is compared by content if tags differ.
        """
        tag, expected = found.etag.strip('"'), self.etag.strip('"')
        if tag == expected:
            return True
        if self.request.replay is Replay.CONDITIONAL:
            return found.sha256 == self.content[2] if found.sha256 or not tag else None
        return None if tag.endswith(expected[32:]) else False


def _keep(entries: OrderedDict[K, V], key: K, value: V) -> None:
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > _MAX_REMEMBERED:
        entries.popitem(last=False)


@dataclass
class Question:
    """The question to a verifier what is stored under the key of ``request``."""

    number: int
    request: S3Request
    answer: "asyncio.Future[ObjectState | None]"


class UncertainWrites:
    """Writes whose response was lost, and the questions to the verifiers that can read the object.

    Of writers with equal content, only one is told that it succeeded: the object does not show whose it is.
    """

    def __init__(self) -> None:
        self._uncertain: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._confirmed: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        self._questions: dict[int, Question] = {}
        self._unasked: asyncio.Queue[Question] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._polling = 0
        self._last_polled = -_VERIFIER_SECONDS

    @property
    def verifiers(self) -> int:
        """Number of verifiers that wait for a question; 1 if one polled a moment ago and may be busy."""
        return self._polling or int(time.monotonic() - self._last_polled < _VERIFIER_SECONDS)

    def is_uncertain(self, write: Write | None) -> bool:
        """Return whether an earlier attempt at the same write may have been applied."""
        if write is None or not self._uncertain:
            return False
        return time.monotonic() - self._uncertain.get(write.identity, -_REMEMBERED_SECONDS) < _REMEMBERED_SECONDS

    def remember(self, write: Write | None) -> None:
        """Note that a write may have been applied, also for the client's own retry."""
        if write is not None:
            _keep(self._uncertain, write.identity, time.monotonic())

    def forget(self, write: Write | None) -> None:
        """Note that the outcome of a write is known."""
        if write is not None and self._uncertain:
            self._uncertain.pop(write.identity, None)

    def confirm(self, write: Write | None) -> None:
        """Note that a writer is told of its success, so that no other writer of equal content is."""
        if write is not None:
            self.forget(write)
            bucket, key, digest = write.content
            _keep(self._confirmed, (bucket, key), (digest, time.monotonic()))

    def overwritten(self, request: S3Request) -> None:
        """Note an unconditional put or delete, after which the next writer may succeed again."""
        if request.key:
            self._confirmed.pop((request.bucket, request.key), None)
            return
        for place in [place for place in self._confirmed if place[0] == request.bucket]:  # a multi-delete
            del self._confirmed[place]

    def is_applied(self, write: Write, found: ObjectState) -> bool | None:
        """Return whether the object is this write's and no other writer's; None if ``found`` does not tell."""
        bucket, key, digest = write.content
        confirmed, when = self._confirmed.get((bucket, key), ("", 0.0))
        is_another = confirmed == digest and time.monotonic() - when < _REMEMBERED_SECONDS
        return write.matches(found) and not is_another

    async def ask_verifier(self, request: S3Request) -> ObjectState | None:
        """Return what is stored under a key; None if there is no verifier, or it cannot tell."""
        if not self.verifiers:
            return None
        question = Question(next(self._numbers), request, asyncio.get_running_loop().create_future())
        self._questions[question.number] = question
        self._unasked.put_nowait(question)
        try:
            async with asyncio.timeout(_VERIFIER_SECONDS):
                return await question.answer
        except TimeoutError:
            return None
        finally:
            self._questions.pop(question.number, None)

    async def next_question(self) -> Question:
        """Wait for the next question that still needs an answer."""
        self._polling += 1
        try:
            while True:
                question = await self._unasked.get()
                if question.number in self._questions:
                    return question
        finally:
            self._polling -= 1
            self._last_polled = time.monotonic()

    def answer(self, number: int, found: ObjectState | None) -> None:
        """Answer a question; a late answer is dropped."""
        question = self._questions.get(number)
        if question is not None and not question.answer.done():
            question.answer.set_result(found)
