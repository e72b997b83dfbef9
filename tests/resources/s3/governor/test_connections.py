"""A governor's connections of clients: as many as the files that it may open allow, and none that nobody uses."""

import asyncio
import logging
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from resources.s3.governor import client as governor_client
from resources.s3.governor.client import ClientConnection, Clients
from resources.s3.governor.forwarding import Forwarder
from resources.s3.governor.message import Message
from resources.s3.governor.service import Governor
from resources.s3.governor.settings import GovernorSettings
from tests.fakes.misbehaving_upstream import Upstream, answer, upstream
from tests.worlds import governor as governor_world
from tests.worlds.governor import SECONDS, Raw, governor

GET = b"GET http://s3.test.invalid/b/k HTTP/1.1\r\nHost: s3.test.invalid\r\n\r\n"
FILES, MOST = 60, 20


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


def _told(port: int, request: bytes = b"") -> bytes:
    """What a connection of its own is told until it ends."""
    with Raw(port) as client, suppress(ConnectionError):
        return client.send(request).rest()
    return b""


def test_it_opens_as_many_files_as_it_is_allowed_to(s3: Upstream) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        with governor(s3.url) as found:
            assert resource.prlimit(found.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_clients_are_told_so_and_the_others_still_reach_s3(
    s3: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = governor_world.command
    few = ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh"]
    monkeypatch.setattr(governor_world, "command", lambda *arguments: [*few, *plain(*arguments)])
    s3.will(answer(200, b"found"))
    with governor(s3.url) as found:
        with ExitStack() as stack:
            clients = [stack.enter_context(Raw(found.port)) for _ in range(MOST)]
            for client in clients:
                assert client.send(GET).answer().body == b"found"
            refused = [_told(found.port) for _ in range(3 * FILES)]  # each of which would have taken a file
            assert {told[:13] for told in refused} <= {b"HTTP/1.1 503 ", b""}  # or a reset, where they come too fast
            assert b"\r\nConnection: close\r\n" in refused[0]
            assert b"<Code>ServiceUnavailable</Code><Message>Too many connections" in refused[0]
            for client in clients:
                client.send(GET)
            assert [client.answer().body for client in clients] == [b"found"] * MOST
        end = time.monotonic() + SECONDS
        while not _told(found.port, GET[:-2] + b"Connection: close\r\n\r\n").endswith(b"found"):  # it sees them go
            assert time.monotonic() < end
    assert "".join(found.log).count("further ones are turned away") == 1


def test_idle_connections_are_closed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        begun, may_answer = asyncio.Event(), asyncio.Event()

        async def handle(request: Message, client: ClientConnection) -> bool:
            if request.target.endswith(b"/slow"):
                begun.set()
                await may_answer.wait()
            return client.send(200, [])

        clients = Clients(handle, most=10)
        server = await asyncio.get_running_loop().create_server(clients.connection, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        used, half, busy = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        busy[1].write(GET.replace(b"/k", b"/slow"))
        await begun.wait()
        monkeypatch.setattr(governor_client, "IDLE_SECONDS", 0.01)
        unused = await asyncio.open_connection("127.0.0.1", port)
        used[1].write(GET)
        half[1].write(GET + GET[:-2])
        for reader, _ in (used, half):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert [await reader.read() for reader, _ in (unused, used, half)] == [b"", b"", b""]
        may_answer.set()
        assert (await busy[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for _, writer in (unused, used, half, busy):
            writer.close()
        server.close()
        await server.wait_closed()

    asyncio.run(asyncio.wait_for(scenario(), SECONDS))


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        (b"http://s3.test.invalid/b/k%20x?X-Amz-Signature=SECRET", "GET b'/b/k%20x' could not be handled"),
        (b"http://me:SECRET@s3.test.invalid/b", "GET b'/b' could not be handled"),
        (b"http://s3.test.invalid?X-Amz-Signature=SECRET", "GET b'/' could not be handled"),
    ],
)
def test_of_a_request_that_fails_the_log_has_the_path_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, target: bytes, logged: str
) -> None:
    async def fail(*_: object) -> bool:
        message = "a fault"
        raise RuntimeError(message)

    monkeypatch.setattr(Forwarder, "forward", fail)

    async def scenario() -> bytes:
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(Governor(GovernorSettings("http://127.0.0.1:9")).serve(port.set_result))
        reader, writer = await asyncio.open_connection("127.0.0.1", await port)
        writer.write(b"GET %b HTTP/1.1\r\nHost: s3.test.invalid\r\nConnection: close\r\n\r\n" % target)
        told = await reader.read()
        writer.close()
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        return told

    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with caplog.at_level(logging.ERROR, "cippus.s3_governor"):
            assert b" 500 " in asyncio.run(asyncio.wait_for(scenario(), SECONDS))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
    assert [record.getMessage() for record in caplog.records] == [logged]
    assert "SECRET" not in caplog.text
