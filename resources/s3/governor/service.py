"""The governor's process: its listener, its background tasks, and its shutdown."""

import asyncio
import base64
import contextlib
import gc
import hmac
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from resources.local_stack import write_private
from resources.s3.governor import emf
from resources.s3.governor.admin import Admin
from resources.s3.governor.client import ClientConnection, Clients, max_clients
from resources.s3.governor.forwarding import Forwarder
from resources.s3.governor.gate import Gate
from resources.s3.governor.learned_limits import restore_limits, save_limits, save_limits_regularly
from resources.s3.governor.message import Message
from resources.s3.governor.metrics import RequestMetrics
from resources.s3.governor.rate_control import RateSettings
from resources.s3.governor.request_scheduler import RequestScheduler
from resources.s3.governor.s3_request import HostRefusedError, bucket_of_host, interpret
from resources.s3.governor.settings import ADDRESS_FILE, GovernorSettingError, GovernorSettings
from resources.s3.governor.uncertain_writes import UncertainWrites
from resources.s3.governor.upstream import UpstreamPool

LIMITS_FILE = "limits.json"
_BACKLOG = 1024
_OWN_HOSTS = {"127.0.0.1", "localhost"}
"""A web page may give any name the address of this machine, and the browser sends that name."""
_IDLE_CHECK_SECONDS = 5.0
_FINISH_SECONDS, _FINISH_CHECK_SECONDS = 3.0, 0.02
_log = logging.getLogger("cippus.s3_governor")


class Governor:
    """One governor."""

    def __init__(self, settings: GovernorSettings) -> None:
        self._settings = settings
        documented = RateSettings()
        writes_per_second = settings.max_writes or documented.write_ceiling
        reads_per_second = settings.max_reads or documented.read_ceiling
        rates = RateSettings(settings.depth, writes_per_second, reads_per_second)
        self._scheduler = RequestScheduler(rates)
        metrics = RequestMetrics(settings.depth)
        self._pool = UpstreamPool(settings.upstream_host, settings.upstream_port, settings.tls())
        gate = Gate(self._scheduler)
        writes = UncertainWrites()
        self._forwarder = Forwarder(settings, gate, self._pool, metrics, writes)
        self._admin = Admin(settings, self._scheduler, metrics, writes)
        self._last_request = time.monotonic()
        self._forwarding = 0

    async def serve(self, on_listening: Callable[[int], None]) -> None:
        """Listen on loopback until SIGTERM, SIGINT, or the idle time of the settings."""
        loop, settings = asyncio.get_running_loop(), self._settings
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        limits = settings.folder / LIMITS_FILE if settings.folder else None
        send = emf.sender(settings.emf)
        reporter = emf.EmfReporter(self._admin.counts, send) if send else None
        clients = Clients(self._handle, max_clients())
        regular = [self._end_when_idle(ended)]
        if limits:
            restore_limits(limits, self._scheduler)
            regular.append(save_limits_regularly(limits, self._scheduler))
        if reporter:
            regular.append(reporter.run())
        tasks = [loop.create_task(each) for each in regular]
        server = await loop.create_server(clients.connection, "127.0.0.1", settings.port, backlog=_BACKLOG)
        on_listening(server.sockets[0].getsockname()[1])
        await ended.wait()
        for task in tasks:
            task.cancel()
        server.close()
        await self._finish_requests()
        self._pool.close()
        if limits:
            save_limits(limits, self._scheduler)
        if reporter:
            reporter.close()

    async def _finish_requests(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                while self._forwarding:
                    await asyncio.sleep(_FINISH_CHECK_SECONDS)

    async def _end_when_idle(self, ended: asyncio.Event) -> None:
        longest = self._settings.idle_exit
        while longest:
            await asyncio.sleep(min(_IDLE_CHECK_SECONDS, longest))
            idle = time.monotonic() - self._last_request
            if not self._forwarding and idle > longest:
                _log.info("no request for %.0f s: ending", idle)
                ended.set()

    async def _handle(self, request: Message, client: ClientConnection) -> bool:
        self._last_request = time.monotonic()
        try:
            return await self._route(request, client)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            _log.exception("%s %r could not be handled", request.method, _path(request.target)[:200])
            if client.answer_begun:
                client.transport.abort()
                return False
            return client.send_error(500, "InternalError", "The request governor failed; see its log.")
        finally:
            self._last_request = time.monotonic()

    async def _route(self, request: Message, client: ClientConnection) -> bool:
        if stranger := _stranger(request):
            return client.send_error(403, "AccessDenied", stranger)
        if request.target.startswith(b"/"):
            _, known = self._caller(request, b"authorization")
            return await self._admin.handle(request, client, known=known)
        scope, known = self._caller(request, b"proxy-authorization")
        if not known:
            message = "This request governor only serves processes that know its token."
            challenge = ("Proxy-Authenticate", 'Basic realm="S3 request governor"')
            return client.send_error(407, "AccessDenied", message, headers=[challenge])
        scheme, _, rest = request.target.partition(b"://")
        if scheme.lower() != b"http":
            message = "This request governor takes http:// requests and speaks TLS to S3 itself."
            return client.send_error(400, "InvalidRequest", message)
        host = request.fields.get(b"host", b"").decode("latin-1")
        try:
            bucket = bucket_of_host(host, self._settings.upstream_host)
        except HostRefusedError as error:
            return client.send_error(403, "AccessDenied", str(error))
        target = _origin_form(rest)
        s3 = interpret(request.method, bucket, target, request.fields)
        self._forwarding += 1
        try:
            return await self._forwarder.forward(request, client, s3, target, scope)
        finally:
            self._forwarding -= 1

    def _caller(self, request: Message, header: bytes) -> tuple[str, bool]:
        """Return the scope, which is the caller's user name, and whether the caller knows the token."""
        given = request.fields.get(header, b"")
        scope, token = "", ""
        if given[:6].lower() == b"basic ":
            with contextlib.suppress(ValueError):
                scope, _, token = base64.b64decode(given[6:], validate=True).decode().partition(":")
        return scope, hmac.compare_digest(token.encode(), self._settings.token.encode())


def _stranger(request: Message) -> str:
    """Return why a request is refused whatever its token is: a web page sent it, or it is for another host."""
    if b"origin" in request.fields:
        return "This request governor serves no web pages."
    host = request.header(b"host").lower()
    if not host:
        return "A request needs a Host header."
    if request.target.startswith(b"/") and host.partition(":")[0] not in _OWN_HOSTS:
        return "This request governor is 127.0.0.1 and no other host."
    return ""


def _origin_form(rest: bytes) -> bytes:
    """Return path and query of what follows `http://`; the path may be empty before a query."""
    authority, slash, path = rest.partition(b"/")
    if b"?" in authority:
        return b"/?" + rest.partition(b"?")[2]
    return slash + path or b"/"


def _path(target: bytes) -> bytes:
    """Return the path of a target in either form, for logs: the rest may hold secrets, as presigned queries do."""
    before_query = target.partition(b"?")[0]
    return before_query if before_query.startswith(b"/") else _origin_form(before_query.partition(b"://")[2])


def serve(settings: GovernorSettings, say: Callable[[str], None]) -> None:
    """Run a governor until it ends; call ``say`` with one line when it listens.

    While it listens, its folder holds its address, readable by its owner only. Raises GovernorSettingError without a
    token and for a folder that cannot be used, OSError if the port is taken.
    """
    if not settings.token:
        raise GovernorSettingError("--token-file is missing, expected a file with the token that clients must send.")
    run(settings, say)


def run(settings: GovernorSettings, say: Callable[[str], None]) -> None:
    """Run a governor with these settings, as `serve` does once it has checked them."""

    def on_listening(port: int) -> None:
        if settings.folder:
            _write_address(settings.folder, port, settings)
        say(f"S3 request governor on http://127.0.0.1:{port}, forwarding to {settings.upstream}")

    settings.make_folder()
    # Few objects live long, and those made per request have no cycles: frequent collection only costs time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    try:
        uvloop.run(Governor(settings).serve(on_listening))
    finally:
        if settings.folder:
            _remove_address(settings.folder)


def _write_address(folder: Path, port: int, settings: GovernorSettings) -> None:
    address = {"pid": os.getpid(), "port": port, "token": settings.token, "upstream": settings.upstream}
    write_private(folder / ADDRESS_FILE, json.dumps(address))


def _remove_address(folder: Path) -> None:
    """Remove the address file, unless another governor has replaced it."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if json.loads((folder / ADDRESS_FILE).read_text())["pid"] == os.getpid():
            (folder / ADDRESS_FILE).unlink()
