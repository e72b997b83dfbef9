"""A loopback proxy for one actor's requests to S3. It holds the actor at a chosen request, until it is let go."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from resources.s3.client import S3Resource

PATIENCE_SECONDS = 120.0
_OF_THE_CONNECTION = {"connection", "expect", "keep-alive", "transfer-encoding"}


@dataclass
class Gate:
    """Counts an actor's requests. The request with the number ``hold_at``, and all later ones, wait for `let_go`."""

    hold_at: int
    requests: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    _open: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> None:
        """Count a request, and wait if the actor is held."""
        with self._lock:
            self.requests += 1
            waits = self.requests >= self.hold_at
        if waits and not self._open.is_set():
            self.held.set()
            if not self._open.wait(PATIENCE_SECONDS):
                raise TimeoutError(self.requests)

    def let_go(self) -> None:
        """Let all requests pass from now on."""
        self._open.set()


@contextmanager
def gated(s3: S3Resource, hold_at: int) -> Iterator[tuple[S3Resource, Gate]]:
    """Yield the bucket behind a proxy, and the proxy's gate."""
    gate, upstream = Gate(hold_at), s3.endpoint_url.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes, and the second would wait 40 ms

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            gate.enter()
            with closing(http.client.HTTPConnection(upstream, timeout=PATIENCE_SECONDS)) as connection:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in _OF_THE_CONNECTION:
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_THE_CONNECTION | {"content-length"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward  # noqa: N815 - http.server's names

        def log_message(self, format: str, *_arguments: object) -> None:
            del format

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        yield S3Resource(**{**s3.model_dump(), "endpoint_url": address}), gate
    finally:
        gate.let_go()
        server.shutdown()
        serving.join()
        server.server_close()
