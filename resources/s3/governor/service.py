"""The governor's process: what listens, what runs beside it, how it ends."""

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

from resources.s3.governor import answers, emf, learned
from resources.s3.governor.admin import Admin
from resources.s3.governor.client import ClientConnection, ClientRequest
from resources.s3.governor.clients import Clients, room_for_clients
from resources.s3.governor.doubts import Doubts
from resources.s3.governor.forwarding import Forwarder
from resources.s3.governor.gate import Gate
from resources.s3.governor.open_read import OpenReader
from resources.s3.governor.rate_control import RateSettings
from resources.s3.governor.request_scheduler import RequestScheduler
from resources.s3.governor.s3_request import HostRefusedError, bucket_of_host, interpret
from resources.s3.governor.settings import GovernorSettings
from resources.s3.governor.tally import Tally
from resources.s3.governor.tunnel import tunnel
from resources.s3.governor.upstream import UpstreamPool

ADDRESS_FILE, LIMITS_FILE = "governor.json", "limits.json"
_BACKLOG = 1024
_IDLE_CHECK_SECONDS = 5.0
_FINISH_SECONDS, _FINISH_CHECK_SECONDS = 3.0, 0.02
_log = logging.getLogger("cippus.s3_governor")


class Governor:
    """One governor: its listener, and what it knows."""

    def __init__(self, settings: GovernorSettings) -> None:
        self._settings = settings
        known = RateSettings()
        rates = RateSettings(
            depth=settings.depth,
            write_ceiling=settings.write_ceiling or known.write_ceiling,
            read_ceiling=settings.read_ceiling or known.read_ceiling,
        )
        self._scheduler = RequestScheduler(rates)
        self._tally = Tally(settings.depth)
        self._pool = UpstreamPool(settings.upstream_host, settings.upstream_port, settings.tls())
        gate = Gate(self._scheduler)
        reader = OpenReader(gate, self._pool, settings.deadline, settings.replay_bytes)
        self._doubts = Doubts(reader.read)
        self._forwarder = Forwarder(settings, gate, self._pool, self._tally, self._doubts)
        self._admin = Admin(settings, self._scheduler, self._tally, self._doubts)
        self._last_request = time.monotonic()
        self._busy = self._forwarding = 0
        self._hosts: dict[str, str] = {}

    async def serve(self, on_listening: Callable[[int], None]) -> None:
        """Listen on loopback until told to end (SIGTERM, SIGINT) or idle for as long as the settings say."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        limits = (
            learned.LearnedLimits(self._settings.folder / LIMITS_FILE, self._scheduler)
            if self._settings.folder
            else None
        )
        if limits:
            limits.restore()
        send = emf.sink(self._settings.emf)
        reporter = emf.EmfReporter(self._admin.counted, send) if send else None
        clients = Clients(self._handle, room_for_clients())
        server = await loop.create_server(clients.connection, "127.0.0.1", self._settings.port, backlog=_BACKLOG)
        on_listening(server.sockets[0].getsockname()[1])
        async with asyncio.TaskGroup() as beside:
            regular = self._end_when_idle(ended), clients.close_idle_regularly()
            tasks = [beside.create_task(each) for each in regular]
            if limits:
                tasks.append(beside.create_task(_save_regularly(limits)))
            if reporter:
                tasks.append(beside.create_task(reporter.run()))
            await ended.wait()
            for task in tasks:
                task.cancel()
        server.close()
        await self._finish_under_way()
        self._pool.close()
        if limits:
            limits.save()
        if reporter:
            await reporter.close()

    async def _finish_under_way(self) -> None:
        """Let requests that are under way end, for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                while self._forwarding:
                    await asyncio.sleep(_FINISH_CHECK_SECONDS)

    async def _end_when_idle(self, ended: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(min(_IDLE_CHECK_SECONDS, self._settings.idle_exit or _IDLE_CHECK_SECONDS))
            idle = time.monotonic() - self._last_request
            if self._settings.idle_exit and not self._busy and idle > self._settings.idle_exit:
                _log.info("no request for %.0f s: ending", idle)
                ended.set()

    async def _handle(self, request: ClientRequest, client: ClientConnection) -> bool:
        self._last_request = time.monotonic()
        self._busy += 1
        try:
            return await self._route(request, client)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            _log.exception("%s %r could not be handled", request.method, _path(request.target)[:200])
            if client.answer_begun:
                client.abort()
                return False
            return _refuse(client, request, 500, "InternalError", "The request governor failed; see its log.")
        finally:
            self._busy -= 1
            self._last_request = time.monotonic()

    async def _route(self, request: ClientRequest, client: ClientConnection) -> bool:
        if request.target.startswith(b"/"):
            _, known = self._caller(request, b"authorization")
            return await self._admin.handle(request, client, known=known)
        scope, known = self._caller(request, b"proxy-authorization")
        if not known:
            message = "This request governor is for the processes that know its token."
            challenge = (b"Proxy-Authenticate", b'Basic realm="S3 request governor"')
            return _refuse(client, request, 407, "AccessDenied", message, (challenge,))
        if request.method == "CONNECT":
            return await self._connect(request, client)
        scheme, _, rest = request.target.partition(b"://")
        authority, target = _split(rest)
        if b"host" not in request.fields:  # HTTP/1.0 may leave it out, HTTP/1.1 to S3 may not
            request.fields[b"host"] = authority
            request.lines.append(b"Host: %b\r\n" % authority)
        host = request.fields[b"host"].decode("latin-1")
        if scheme.lower() != b"http":
            message = "This request governor takes http:// requests and speaks TLS to S3 itself."
            return _refuse(client, request, 400, "InvalidRequest", message)
        try:
            bucket = self._bucket_of(host)
        except HostRefusedError as error:
            return _refuse(client, request, 403, "AccessDenied", str(error))
        self._forwarding += 1
        try:
            return await self._forwarder.forward(
                request, client, interpret(request.method, host, bucket, target, request.fields), target, scope
            )
        finally:
            self._forwarding -= 1

    def _bucket_of(self, host: str) -> str:
        found = self._hosts.get(host)
        if found is None:
            found = bucket_of_host(host, self._settings.endpoint_hosts)
            if len(self._hosts) < 1024:  # hosts are few; somebody who invents them gains nothing
                self._hosts[host] = found
        return found

    def _caller(self, request: ClientRequest, header: bytes) -> tuple[str, bool]:
        """The scope that a caller names as its user, and whether it knows the token (or none is needed)."""
        given = request.fields.get(header, b"")
        scope, token = "", ""
        if given[:6].lower() == b"basic ":
            with contextlib.suppress(ValueError):
                scope, _, token = base64.b64decode(given[6:], validate=True).decode().partition(":")
        expected = self._settings.token
        return scope, not expected or hmac.compare_digest(token.encode(), expected.encode())

    async def _connect(self, request: ClientRequest, client: ClientConnection) -> bool:
        allowed = self._settings.tunnel_target
        if not allowed or request.target.decode("latin-1").lower() != allowed:
            message = f"This request governor makes tunnels to {f'{allowed} only' if allowed else 'no host'}."
            return _refuse(client, request, 403, "AccessDenied", message)
        host, _, port = allowed.rpartition(":")
        await tunnel(client, host, int(port))
        return False


def _split(rest: bytes) -> tuple[bytes, bytes]:
    """Authority and origin-form target of what follows `http://`; the path may be empty before a query."""
    authority, slash, path = rest.partition(b"/")
    if b"?" in authority:
        authority, _, query = rest.partition(b"?")
        return authority, b"/?" + query
    return authority, slash + path or b"/"


def _path(target: bytes) -> bytes:
    """The path of a target in either form: what else it has may be a secret, as a presigned query is."""
    before_query = target.partition(b"?")[0]
    return before_query if before_query.startswith(b"/") else _split(before_query.partition(b"://")[2])[1]


def _refuse(
    client: ClientConnection,
    request: ClientRequest,
    status: int,
    code: str,
    message: str,
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> bool:
    body = answers.error_document(code, message) if request.method != "HEAD" else b""
    client.send_head(status, [*answers.error_headers(code, message, body, ""), *more], body)
    return request.method != "CONNECT"


async def _save_regularly(limits: learned.LearnedLimits) -> None:
    while True:
        await asyncio.sleep(learned.EVERY_SECONDS)
        limits.save()


def serve(settings: GovernorSettings, say: Callable[[str], None]) -> None:
    """Run a governor until it is told to end. ``say`` gets one line once it listens.

    With a folder, its address is written there once it listens, readable by its owner alone, and removed in the end.
    Raises GovernorSettingError for a folder that cannot be used, OSError when the port is taken.
    """

    def on_listening(port: int) -> None:
        if settings.folder:
            write_address(settings.folder, port, settings)
        say(f"S3 request governor on http://127.0.0.1:{port}, forwarding to {settings.upstream}")

    settings.make_folder()
    # What lives is small and what is made per request has no cycles: collecting often only costs.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    try:
        uvloop.run(Governor(settings).serve(on_listening))
    finally:
        if settings.folder:
            _remove_address(settings.folder)


def write_address(folder: Path, port: int, settings: GovernorSettings) -> None:
    """Say where this process can be found, whole or not at all."""
    path = folder / f"{ADDRESS_FILE}.{os.getpid()}"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    address = {"pid": os.getpid(), "port": port, "token": settings.token, "upstream": settings.upstream}
    path.write_text(json.dumps(address))
    path.replace(folder / ADDRESS_FILE)


def _remove_address(folder: Path) -> None:
    """Remove the address file, unless it meanwhile is another governor's."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if json.loads((folder / ADDRESS_FILE).read_text())["pid"] == os.getpid():
            (folder / ADDRESS_FILE).unlink()
