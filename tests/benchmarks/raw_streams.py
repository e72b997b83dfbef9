"""Transfer large bodies with a minimal client: http.client and presigned URLs, in blocks of 1 MiB."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

_BLOCK = bytes(range(256)) * 4096
_TIMEOUT_SECONDS = 120.0
_GATHER_SECONDS = 30.0
_Transfer = Callable[[HTTPConnection, int, threading.Barrier | None], bool]


class StreamError(RuntimeError):
    """A body was not transferred completely."""


@dataclass(frozen=True)
class RawStreams:
    """Bodies of one size, in whole blocks. ``client`` signs for the endpoint; ``proxy`` is a governor, or blank."""

    client: Any
    bucket: str
    endpoint: str
    proxy: str
    size: int

    def up(self, bodies: int) -> float:
        """Upload some bodies one after the other; return MB (10^6 bytes) per second."""
        started = time.monotonic()
        connection = self.connection()
        for number in range(bodies):
            self.put(connection, number)
        connection.close()
        return bodies * self.size / 1e6 / (time.monotonic() - started)

    def down(self, bodies: int) -> float:
        """Download the uploaded bodies; return MB per second."""
        started = time.monotonic()
        connection = self.connection()
        for number in range(bodies):
            self.get(connection, number)
        connection.close()
        return bodies * self.size / 1e6 / (time.monotonic() - started)

    def put(self, connection: HTTPConnection, number: int, half_way: threading.Barrier | None = None) -> bool:
        """Upload one body, waiting in its middle for the others; return whether all of them arrived there."""
        blocks, met = self.size // len(_BLOCK), list[bool]()

        def body() -> Iterator[bytes]:
            for at in range(blocks):
                if at == blocks // 2:
                    met.append(_wait(half_way))
                yield _BLOCK

        target = self._target("put_object", number)
        connection.request("PUT", target, body(), {**self._host(), "Content-Length": str(self.size)})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != HTTPStatus.OK:
            message = f"PUT of {self.size} bytes answered {answer.status}: {said[:300]!r}"
            raise StreamError(message)
        return bool(met and met[0])

    def get(self, connection: HTTPConnection, number: int, begun: threading.Barrier | None = None) -> bool:
        """Download one body, waiting after its first block for the others; return whether all of them arrived there."""
        connection.request("GET", self._target("get_object", number), headers=self._host())
        answer, buffer, got, met = connection.getresponse(), bytearray(len(_BLOCK)), 0, False
        while count := answer.readinto(buffer):
            if not got:
                met = _wait(begun)
            got += count
        if answer.status != HTTPStatus.OK or got != self.size:
            message = f"GET answered {answer.status} with {got} bytes of {self.size}"
            raise StreamError(message)
        return met

    def connection(self) -> HTTPConnection:
        """Open a connection to the endpoint or its proxy."""
        at = urlsplit(self.proxy or self.endpoint)
        return HTTPConnection(at.hostname or "", at.port, timeout=_TIMEOUT_SECONDS, blocksize=len(_BLOCK))

    def _host(self) -> dict[str, str]:
        return {"Host": urlsplit(self.endpoint).netloc}

    def _target(self, operation: str, number: int) -> str:
        """Return the presigned request target: the whole URL for a proxy, otherwise the path."""
        where = {"Bucket": self.bucket, "Key": f"bodies/{self.size}/{number}"}
        presigned = str(self.client.generate_presigned_url(operation, Params=where))
        return presigned if self.proxy else presigned.removeprefix(self.endpoint)


def _wait(barrier: threading.Barrier | None) -> bool:
    if barrier is None:
        return True
    try:
        barrier.wait(_GATHER_SECONDS)
    except threading.BrokenBarrierError:
        return False
    return True


def hold_in_flight(streams: RawStreams, count: int) -> int:
    """Have many bodies in flight at once, up and then down; return the smaller number that were."""
    smallest = count
    for one in (streams.put, streams.get):
        together = threading.Barrier(count)

        def work(number: int, one: _Transfer = one, together: threading.Barrier = together) -> bool:
            connection = streams.connection()
            try:
                return one(connection, number, together)
            finally:
                connection.close()

        with ThreadPoolExecutor(count) as pool:
            smallest = min(smallest, sum(pool.map(work, range(count))))
    return smallest
