"""Writes that cannot simply be repeated, after their answer was lost: were they applied?"""

import asyncio
import hashlib
import itertools
import re
import time
from binascii import unhexlify
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from resources.s3.governor.s3_request import Replay, S3Request

_REMEMBERED = 256
_REMEMBERED_SECONDS = 300.0
"""No client repeats a write for longer (object_store gives up after 180 s); later, an equal put is another writer's."""
_PART_ETAG = re.compile(rb"<ETag>\s*(?:&quot;|&#34;|\")?([0-9a-fA-F]{32})(?:&quot;|&#34;|\")?\s*</ETag>")
K = TypeVar("K")
V = TypeVar("V")
_WITNESS_SECONDS = 5.0
"""How long a question waits for its answer, and how long a witness that answers one counts as being there."""


@dataclass(frozen=True)
class Found:
    """What was found under a key: its entity tag, "" where there is no object, and its content's SHA-256 if read."""

    etag: str
    sha256: str = ""


@dataclass(frozen=True)
class Write:
    """A conditional put or the completion of a multipart upload, with its body."""

    request: S3Request
    body: bytes = field(repr=False)
    writer: str = ""
    """Who writes: equal for a client's own repetition of a request."""

    @cached_property
    def content(self) -> tuple[str, str, str]:
        """What is written where: equal for writers that write the same."""
        return (self.request.bucket, self.request.key, hashlib.sha256(self.body).hexdigest())

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for another try at the same write."""
        return (*self.content, self.writer)

    @cached_property
    def etag(self) -> str:
        """The entity tag that the object has if this write was applied, quoted; not so under KMS encryption."""
        if self.request.replay is Replay.COMPLETION:
            parts = [unhexlify(found) for found in _PART_ETAG.findall(self.body)]
            return f'"{hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"'
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'

    def refused_as_if_applied(self, status: int) -> bool:
        """Whether a refusal is the one that this write's own success would cause."""
        return status == (404 if self.request.replay is Replay.COMPLETION else 412)

    def is_what(self, found: Found) -> bool | None:
        """Whether an object is what this write would have left; None when what was found does not show it.

        Under KMS encryption an entity tag is no hash of the content, so a put's content decides where tags differ.
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
    if len(entries) > _REMEMBERED:
        entries.popitem(last=False)


@dataclass
class Question:
    """What a witness is asked."""

    number: int
    request: S3Request
    answer: "asyncio.Future[Found | None]"


class Doubts:
    """Writes whose answer was lost, and the witnesses that can say what became of them.

    ``read_openly`` reads an object without credentials, which works where everybody may; it is asked last. Of writers
    that write the same, one alone is told that it succeeded: an object cannot say whose it is.
    """

    def __init__(self, read_openly: Callable[[S3Request], Awaitable[Found | None]]) -> None:
        self._read_openly = read_openly
        self._remembered: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        self._questions: dict[int, Question] = {}
        self._unasked: asyncio.Queue[Question] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._polling = 0
        self._last_polled = -_WITNESS_SECONDS

    @property
    def witnesses(self) -> int:
        """How many wait for a question; 1 if there only was one just now, which may be busy with an answer."""
        return self._polling or int(time.monotonic() - self._last_polled < _WITNESS_SECONDS)

    def remembers(self, write: Write | None) -> bool:
        """Whether an earlier try at the same write may have been applied."""
        if write is None or not self._remembered:
            return False
        return time.monotonic() - self._remembered.get(write.identity, -_REMEMBERED_SECONDS) < _REMEMBERED_SECONDS

    def remember(self, write: Write | None) -> None:
        """Keep in mind that a write may have been applied, also for the client's own next try."""
        if write is None:
            return
        _keep(self._remembered, write.identity, time.monotonic())

    def forget(self, write: Write | None) -> None:
        """The write is settled."""
        if write is not None and self._remembered:
            self._remembered.pop(write.identity, None)

    def succeeded(self, write: Write | None) -> None:
        """Its writer is told that the write succeeded, so nobody else who writes the same is."""
        if write is not None:
            self.forget(write)
            bucket, key, digest = write.content
            _keep(self._told, (bucket, key), (digest, time.monotonic()))

    def overwritten(self, request: S3Request) -> None:
        """An object was deleted or put by an unconditional request: whoever writes it next may succeed again."""
        if request.key:
            self._told.pop((request.bucket, request.key), None)
            return
        for place in [told for told in self._told if told[0] == request.bucket]:  # a multi-delete
            del self._told[place]

    @property
    def has_told(self) -> bool:
        """Whether somebody was told that a conditional write succeeded, not long ago."""
        return bool(self._told)

    async def was_applied(self, write: Write) -> bool | None:
        """Whether the object is what the write would have left, and nobody else's; None when nobody could say."""
        applied = await self._is_there(write)
        bucket, key, digest = write.content
        told, when = self._told.get((bucket, key), ("", 0.0))
        return applied and not (told == digest and time.monotonic() - when < _REMEMBERED_SECONDS)

    async def _is_there(self, write: Write) -> bool | None:
        found = await self._ask_witness(write.request) if self.witnesses else None
        if found is None:
            found = await self._read_openly(write.request)
        return None if found is None else write.is_what(found)

    async def _ask_witness(self, request: S3Request) -> Found | None:
        question = Question(next(self._numbers), request, asyncio.get_running_loop().create_future())
        self._questions[question.number] = question
        self._unasked.put_nowait(question)
        try:
            async with asyncio.timeout(_WITNESS_SECONDS):
                return await question.answer
        except TimeoutError:
            return None
        finally:
            self._questions.pop(question.number, None)

    async def next_question(self) -> Question:
        """The next question that somebody still waits for."""
        self._polling += 1
        try:
            while True:
                question = await self._unasked.get()
                if question.number in self._questions:
                    return question
        finally:
            self._polling -= 1
            self._last_polled = time.monotonic()

    def testify(self, number: int, found: Found | None) -> None:
        """A witness' answer; one that comes too late is dropped."""
        question = self._questions.get(number)
        if question is not None and not question.answer.done():
            question.answer.set_result(found)
