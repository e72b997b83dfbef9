"""A process that runs the lineage of a world, or an erasure, and kills itself with SIGKILL at a chosen event."""

import http.client
import json
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

warnings.simplefilter("ignore")

from assets.erasure.erase import erase  # noqa: E402
from resources.local_stack import EmbeddedStack  # noqa: E402
from resources.vectors.edge import generations, index  # noqa: E402
from tests.worlds.erasure import erasing  # noqa: E402 -- importing warns
from tests.worlds.lineage import World  # noqa: E402
from tests.worlds.preload import preload  # noqa: E402


class KillSwitch:
    """Count matching events, and kill this process at the n-th."""

    def __init__(self, pattern: str, nth: int) -> None:
        self._pattern, self._left = re.compile(pattern), nth
        self._lock = threading.Lock()

    def __call__(self, event: str) -> None:
        with self._lock:
            if self._pattern.search(event):
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)


class Forwarding(BaseHTTPRequestHandler):
    """Forward to ``target``. Announce `before PUT /bucket/key`, and `after …` when the server has answered.

    The signed Host header is forwarded unchanged, so signatures stay valid.
    """

    target: str
    happened: Callable[[str], None]
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet; a second one waits 40 ms for an acknowledgement
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.onward = http.client.HTTPConnection(self.target)

    def finish(self) -> None:
        super().finish()
        self.onward.close()

    def handle_expect_100(self) -> bool:
        allowed = super().handle_expect_100()
        self.wfile.flush()
        return allowed

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        event = f"{self.command} {unquote(urlsplit(self.path).path)}"
        self.happened(f"before {event}")
        self.onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                self.onward.putheader(name, value)
        self.onward.endheaders(body)
        answer = self.onward.getresponse()
        content = answer.read()
        self.happened(f"after {event}")
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        return


class QuietServer(ThreadingHTTPServer):
    """A server that logs no closed connections."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


def proxy(endpoint: str, happened: Callable[[str], None]) -> str:
    """Start a proxy before an S3 server in a thread. Return its endpoint."""
    attributes = {"target": urlsplit(endpoint).netloc, "happened": staticmethod(happened)}
    server = QuietServer(("127.0.0.1", 0), type("Handler", (Forwarding,), attributes))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def announced(owner: Any, name: str, event: str, happened: Callable[[str], None]) -> None:
    """Wrap a function to announce `before event` and `after event` around every call."""
    original = getattr(owner, name)

    def call(*arguments: Any) -> None:
        happened(f"before {event}")
        original(*arguments)
        happened(f"after {event}")

    setattr(owner, name, call)


def run(job: dict[str, Any]) -> None:
    """Run the lineage. Exit with 0 or 1, or be killed."""
    kill = KillSwitch(job["pattern"], job["nth"])
    stack = EmbeddedStack(**job["stack"])
    through = EmbeddedStack(**{**job["stack"], "s3_endpoint": proxy(stack.s3_endpoint, kill)})
    announced(index.EdgeIndex, "_update", "index update", kill)
    announced(generations, "write_metadata", "index birth", kill)
    announced(generations.EdgeGenerations, "_swap", "index swap", kill)
    announced(generations.EdgeGenerations, "drop", "index drop", kill)
    announced(index.EdgeIndex, "optimize", "index optimize", kill)
    world = World(job["name"], Path(job["folder"]), through, quantization=job["quantization"])
    if job["erase"]:
        receipt = erase(erasing(world), job["erase"])
        os._exit(0 if receipt.is_clean else 1)
    report = world.run(*job["groups"])
    if not report.success:
        sys.stderr.write("\n".join(report.errors))
    os._exit(0 if report.success else 1)


def main() -> None:
    """Fork a run for each job, and print its exit code; -9 is a killed run."""
    preload()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                run(json.loads(line))
            finally:  # after an error too: threads of the proxy would keep the process alive
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
