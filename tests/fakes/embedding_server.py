"""An HTTP server of embeddings of the test's own, which misbehaves as real ones do."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

Answer = tuple[int, bytes, dict[str, str]]


@dataclass
class Server:
    """What the server saw, and how it answers: ``faults`` are answers for the next requests, None a good one."""

    faults: list[Answer | None] = field(default_factory=list)
    respond: Callable[[list[str]], Any] = field(default=lambda texts: answer(texts))
    requests: list[list[str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    gate: threading.Barrier | None = None
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    under_way: int = 0

    def take(self, handler: BaseHTTPRequestHandler) -> Answer:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.requests.append(body["input"])
            self.headers.append({name.title(): value for name, value in handler.headers.items()})
            self.bodies.append({"path": handler.path, **body})
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
            fault = self.faults.pop(0) if self.faults else None
        if self.gate is not None:
            self.gate.wait(30)
        with self.lock:
            self.under_way -= 1
        return fault or (200, json.dumps(self.respond(body["input"])).encode(), {})


def vector(text: str) -> list[float]:
    return [float(len(text) + 1), float(text.count("a")), 3.0]


def answer(texts: list[str]) -> dict[str, Any]:
    """As real servers answer, but last first: nothing promises an order."""
    data = [{"object": "embedding", "index": index, "embedding": vector(text)} for index, text in enumerate(texts)]
    return {"object": "list", "data": data[::-1], "usage": {"total_tokens": 1}}
