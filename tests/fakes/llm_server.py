"""A provider that speaks the OpenAI protocol and keeps its own account of what it billed, with seeded faults.

`Provider` is the account; `transport` serves it inside a process, and `serve` on a loopback port.
"""

import contextlib
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from resources.llm.completions import METADATA

DROP_REQUEST, DROP_ANSWER, DELAY, LIMIT, BROKEN, BROKEN_BILLED, GARBAGE = (
    *("drop request", "drop answer", "delay", "limit", "broken", "broken, billed", "garbage, billed"),
)
CUT = "cut after half of the answer, billed"
"""A fault of streams alone."""
_PIECE_CHARACTERS = 16
FAULTS = (DROP_REQUEST, DROP_ANSWER, DELAY, LIMIT, BROKEN, BROKEN_BILLED, GARBAGE)


@dataclass(frozen=True)
class Billed:
    """One billed completion: the call that the client named, tokens, USD, and when a lookup shows it."""

    call: str
    prompt_tokens: int
    completion_tokens: int
    usd: Decimal
    completion: dict[str, Any]
    is_visible: bool = True


@dataclass
class Provider:
    """The provider's account. ``price`` is USD per token; ``fault`` is asked before each completion.

    ``text`` makes the answer to a body; without it the answer is the size of the messages.
    """

    price: Callable[[dt.datetime], Decimal]
    clock: Callable[[], dt.datetime]
    fault: Callable[[], str] = lambda: ""
    text: Callable[[dict[str, Any]], str] | None = None
    bills: list[Billed] = field(default_factory=list)
    requests: int = 0
    pieces_sent: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def usd(self) -> Decimal:
        return sum((bill.usd for bill in self.bills), Decimal(0))

    def paid_twice(self) -> list[str]:
        """Return the requests that were billed more than once, whatever the attempt."""
        seen = [bill.call.rpartition(".")[0] for bill in self.bills]
        return sorted({name for name in seen if seen.count(name) > 1}) if len(set(seen)) < len(seen) else []

    def show_delayed(self) -> None:
        """Finish what was slow."""
        self.bills = [Billed(**{**vars(bill), "is_visible": True}) for bill in self.bills]

    def complete(self, body: dict[str, Any]) -> tuple[int, bytes | Iterator[bytes], dict[str, str]] | None:
        """Return status, body and headers; None when the connection breaks."""
        with self.lock:
            self.requests += 1
            self.bodies.append(body)
            fault = self.fault()
            if fault == DROP_REQUEST:
                return None
            if fault == LIMIT:
                return 429, _error("slow down"), {"Retry-After": "0"}
            if fault == BROKEN:
                return 500, _error("broken"), {}
            completion = self._bill(body, is_visible=fault != DELAY)
        if fault in (DROP_ANSWER, DELAY):
            return None
        if fault == BROKEN_BILLED:
            return 502, _error("bad gateway"), {}
        if body.get("stream") and fault != GARBAGE:
            return 200, self._events(completion, is_cut=fault == CUT), {}
        return 200, b'{"id": "x' if fault == GARBAGE else json.dumps(completion).encode(), {}

    def _events(self, completion: dict[str, Any], *, is_cut: bool) -> Iterator[bytes]:
        """Yield a completion as server-sent events, piece by piece, and its usage at last."""
        common = {name: completion[name] for name in ("id", "created", "model")}
        text = completion["choices"][0]["message"]["content"]
        pieces = [text[at : at + _PIECE_CHARACTERS] for at in range(0, len(text), _PIECE_CHARACTERS)]
        for piece in pieces[: len(pieces) // 2] if is_cut else pieces:
            self.pieces_sent += 1
            yield _event({**common, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        if is_cut:
            raise httpx2.ReadError("the connection was reset")
        yield _event({**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        yield _event({**common, "choices": [], "usage": completion["usage"]})
        yield b"data: [DONE]\n\n"

    def _bill(self, body: dict[str, Any], *, is_visible: bool) -> dict[str, Any]:
        now = self.clock()
        size = sum(len(message["content"].encode()) for message in body["messages"])
        prompt, completed = size // 4 + 12, 1 + size % body["max_tokens"]
        call = (body.get("metadata") or {}).get(METADATA) or f"{json.dumps(body['messages'])}.1"
        text = json.dumps({"echo": size}) if self.text is None else self.text(body)
        completion = {
            "id": f"chatcmpl-{len(self.bills)}",
            "object": "chat.completion",
            "created": int(now.timestamp()),
            "model": body["model"],
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            ],
            "usage": {
                "prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed,
            },
        }  # fmt: skip
        at = dt.datetime.fromtimestamp(int(now.timestamp()), dt.UTC)
        usd = (prompt + completed) * self.price(at)
        self.bills.append(Billed(call, prompt, completed, usd, completion, is_visible))
        return completion

    def stored(self, call: str) -> dict[str, Any]:
        """Return the list of stored completions with this call in their metadata."""
        with self.lock:
            found = [bill.completion for bill in self.bills if bill.call == call and bill.is_visible]
        return {"object": "list", "data": found, "has_more": False}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


def transport(provider: Provider) -> httpx2.MockTransport:
    """Return the provider as a transport inside this process."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            call = request.url.params.get(f"metadata[{METADATA}]", "")
            return httpx2.Response(200, json=provider.stored(call))
        found = provider.complete(json.loads(request.content))
        if found is None:
            raise httpx2.ReadTimeout("the answer did not come", request=request)
        status, body, headers = found
        kind = "application/json" if isinstance(body, bytes) else "text/event-stream"
        return httpx2.Response(status, content=body, headers={**headers, "Content-Type": kind})

    return httpx2.MockTransport(handle)


@contextlib.contextmanager
def serve(provider: Provider) -> Iterator[str]:
    """Serve the provider on a loopback port. Yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            call = parse_qs(urlsplit(self.path).query).get(f"metadata[{METADATA}]", [""])[0]
            self._answer(200, json.dumps(provider.stored(call)).encode(), {})

        def do_POST(self) -> None:
            found = provider.complete(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if found is None:
                self.close_connection = True
                return
            status, body, headers = found
            self._answer(status, body if isinstance(body, bytes) else b"".join(body), headers)

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json", "Content-Length": str(len(body)), **headers,
            }.items():  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A killed client resets its connections."""

    http = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
