"""What the governor says of itself, and the questions that it asks witnesses: requests for its own address."""

import asyncio
import json
import os
import time
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs, urlsplit

from resources.s3.governor.client import ClientConnection, ClientRequest
from resources.s3.governor.doubts import Doubts, Found
from resources.s3.governor.request_scheduler import RequestScheduler
from resources.s3.governor.settings import GovernorSettings
from resources.s3.governor.tally import Tally, labels, prefix_text

_LONG_POLL_SECONDS = 20.0
_MOST_TESTIMONY_BYTES = 4096


class Admin:
    """Answers about one governor."""

    def __init__(self, settings: GovernorSettings, scheduler: RequestScheduler, tally: Tally, doubts: Doubts) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._tally = tally
        self._doubts = doubts
        self._started = time.time()

    async def handle(self, request: ClientRequest, client: ClientConnection, *, known: bool) -> bool:
        """Answer one request; ``known`` is whether it brought the governor's token."""
        try:
            at = urlsplit(request.target.decode("latin-1"))
        except ValueError:  # half an IPv6 address behind two slashes
            return _json(client, 400, {"error": "The request's target is not one."})
        if (request.method, at.path) == ("GET", "/healthz"):
            return _json(client, 200, {"pid": os.getpid(), "upstream": self._settings.upstream})
        if not known:
            return _json(client, 401, {"error": "The governor's token is missing or wrong."})
        if (request.method, at.path) == ("GET", "/status"):
            scope = parse_qs(at.query).get("scope", [""])[0]
            return _json(client, 200, self.status(scope))
        if (request.method, at.path) == ("GET", "/metrics"):
            return _answer(client, 200, self._metrics().encode(), b"text/plain; version=0.0.4")
        if at.path.startswith("/witness"):
            return await self._witness(request, client, at.path.removeprefix("/witness").strip("/"))
        message = f"There is no {request.method} {at.path} here: this is a proxy for S3 and no endpoint of S3."
        return _json(client, 404, {"error": message})

    def status(self, scope: str = "") -> dict[str, Any]:
        """Everything as JSON values: counts with the present rates, of one scope or of everybody."""
        return {
            "pid": os.getpid(),
            "upstream": self._settings.upstream,
            "depth": self._settings.depth,
            "deadline": self._settings.deadline,
            "uptime_seconds": round(time.time() - self._started, 1),
            "witnesses": self._doubts.witnesses,
            "prefixes": self.counted(scope),
            "limits": [
                {**asdict(limit), "path": "/".join(limit.path), "verb": str(limit.verb)}
                for limit in self._scheduler.limits()
            ],
        }

    def counted(self, scope: str = "") -> list[dict[str, Any]]:
        """The counts of each prefix and verb, with the rate that it is held to now."""
        found = []
        for path, verb, count in self._tally.counted(scope):
            rate = round(self._scheduler.rate(path, verb), 1)
            named = {"bucket": path[0], "prefix": prefix_text(path), "verb": str(verb)}
            found.append({**named, **count.to_json(), "rate": rate})
        return found

    def _metrics(self) -> str:
        limits = self._scheduler.limits()
        lines = ["# TYPE cippus_s3_rate gauge"]
        lines += [f"cippus_s3_rate{labels(limit.path, limit.verb)} {limit.rate}" for limit in limits]
        lines.append("# TYPE cippus_s3_queued gauge")
        lines += [f"cippus_s3_queued{labels(limit.path, limit.verb)} {limit.queued}" for limit in limits]
        return self._tally.prometheus() + "\n".join(lines) + "\n"

    async def _witness(self, request: ClientRequest, client: ClientConnection, number: str) -> bool:
        """GET waits for a question, POST answers one."""
        if request.method == "POST" and number.isdecimal():
            body = await request.body.up_to(_MOST_TESTIMONY_BYTES)
            try:
                found = _testimony(json.loads(body if len(body) <= _MOST_TESTIMONY_BYTES else b""))
            except (ValueError, RecursionError):
                self._doubts.testify(int(number), None)
                return _json(client, 400, {"error": "A testimony is null or an object with an etag."})
            self._doubts.testify(int(number), found)
            return _json(client, 200, {})
        if request.method != "GET" or number:
            return _json(client, 405, {"error": "GET /witness, or POST /witness/NUMBER."})
        try:
            async with asyncio.timeout(_LONG_POLL_SECONDS):
                question = await self._doubts.next_question()
        except TimeoutError:
            return _json(client, 200, None)
        asked = question.request
        return _json(client, 200, {"number": question.number, "bucket": asked.bucket, "key": asked.key})


def _testimony(told: Any) -> Found | None:
    """What a witness says it found. Raises ValueError for anything else than null or an object of strings."""
    if told is None:
        return None
    etag, sha256 = (told.get("etag"), told.get("sha256", "")) if isinstance(told, dict) else (None, None)
    if not isinstance(etag, str) or not isinstance(sha256, str):
        message = "no testimony"
        raise ValueError(message)
    return Found(etag, sha256)


def _json(client: ClientConnection, status: int, value: Any) -> bool:
    return _answer(client, status, json.dumps(value).encode() + b"\n", b"application/json")


def _answer(client: ClientConnection, status: int, body: bytes, kind: bytes) -> bool:
    client.send_head(status, [(b"Content-Type", kind), (b"Content-Length", str(len(body)).encode())], body)
    return True
