"""The governor's own HTTP interface: health, status, and the questions to write verifiers."""

import asyncio
import json
import os
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from resources.s3.governor.client import ClientConnection
from resources.s3.governor.message import Message
from resources.s3.governor.metrics import RequestMetrics, prefix_text
from resources.s3.governor.request_scheduler import RequestScheduler
from resources.s3.governor.settings import GovernorSettings
from resources.s3.governor.uncertain_writes import ObjectState, UncertainWrites

_LONG_POLL_SECONDS = 20.0
_MAX_ANSWER_BYTES = 4096


class Admin:
    """Answers requests about one governor."""

    def __init__(
        self, settings: GovernorSettings, scheduler: RequestScheduler, metrics: RequestMetrics, writes: UncertainWrites
    ) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._metrics = metrics
        self._writes = writes
        self._started = time.time()

    async def handle(self, request: Message, client: ClientConnection, *, known: bool) -> bool:
        """Answer one request; ``known`` is whether it carried the governor's token."""
        try:
            at = urlsplit(request.target.decode("latin-1"))
        except ValueError:  # half an IPv6 address behind two slashes
            return _json(client, 400, {"error": "The request target is not a valid URL."})
        if (request.method, at.path) == ("GET", "/healthz"):
            return _json(client, 200, {"pid": os.getpid(), "upstream": self._settings.upstream})
        if not known:
            return _json(client, 401, {"error": "The governor's token is missing or wrong."})
        if (request.method, at.path) == ("GET", "/status"):
            return _json(client, 200, self._status(parse_qs(at.query).get("scope", [""])[0]))
        if at.path.startswith("/witness"):
            return await self._verify(request, client, at.path.removeprefix("/witness").strip("/"))
        message = f"There is no {request.method} {at.path} here: this is a proxy for S3 and no endpoint of S3."
        return _json(client, 404, {"error": message})

    def _status(self, scope: str) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "upstream": self._settings.upstream,
            "depth": self._settings.depth,
            "deadline": self._settings.deadline,
            "uptime_seconds": round(time.time() - self._started, 1),
            "witnesses": self._writes.verifiers,
            "prefixes": self.counts(scope),
            "limits": [
                {
                    "path": "/".join(node.path),
                    "verb": str(node.verb),
                    "rate": node.rate,
                    "known": node.known,
                    "queued": node.queued,
                    "in_flight": node.in_flight,
                    "accepted": node.accepts,
                    "throttled": node.rejects,
                }
                for node in self._scheduler.nodes()
            ],
        }

    def counts(self, scope: str = "") -> list[dict[str, Any]]:
        """Return the counts of each prefix and verb with its present rate, of one scope or of all requests."""
        found = []
        for path, verb, counts in self._metrics.by_prefix(scope):
            named = {"bucket": path[0], "prefix": prefix_text(path), "verb": str(verb)}
            found.append({**named, **counts.to_json(), "rate": round(self._scheduler.rate(path, verb), 1)})
        return found

    async def _verify(self, request: Message, client: ClientConnection, number: str) -> bool:
        """GET waits for a question; POST answers one."""
        if request.method == "POST" and number.isdecimal():
            body = await request.body.up_to(_MAX_ANSWER_BYTES)
            try:
                found = _object_state(body if len(body) <= _MAX_ANSWER_BYTES else b"")
            except (ValueError, RecursionError):
                self._writes.answer(int(number), None)
                return _json(client, 400, {"error": "The answer is neither null nor an object with an etag."})
            self._writes.answer(int(number), found)
            return _json(client, 200, {})
        if request.method != "GET" or number:
            return _json(client, 405, {"error": "Use GET /witness, or POST /witness/NUMBER."})
        try:
            async with asyncio.timeout(_LONG_POLL_SECONDS):
                question = await self._writes.next_question()
        except TimeoutError:
            return _json(client, 200, None)
        asked = question.request
        return _json(client, 200, {"number": question.number, "bucket": asked.bucket, "key": asked.key})


def _object_state(answer: bytes) -> ObjectState | None:
    """Parse a verifier's answer. Raises ValueError unless it is null or an object of strings."""
    found = json.loads(answer)
    match {"sha256": "", **found} if isinstance(found, dict) else found:
        case None:
            return None
        case {"etag": str(etag), "sha256": str(sha256)}:
            return ObjectState(etag, sha256)
    raise ValueError("no object state")


def _json(client: ClientConnection, status: int, value: Any) -> bool:
    body = json.dumps(value).encode() + b"\n"
    return client.send(status, [("Content-Type", "application/json")], body)
