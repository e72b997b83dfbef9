"""What a governor says of itself: JSON counts, CloudWatch's embedded metrics, each by its format."""

import base64
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.s3.governor import emf
from tests.fakes.misbehaving_upstream import Upstream, answer, error, reset, upstream
from tests.worlds.governor import Governor, ask, governor

AT = "http://s3.test.invalid"
PATHS = ["/b/a/k", "/b//k", "/b///k", "/b/k", "/b/%22q%22%5C/%0A/k", "/b/%0D/k", "/b/%C3%A9/k", "/"]


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture
def gate(s3: Upstream) -> Iterator[Governor]:
    with governor(s3.url) as found:
        yield found


def _as(user: str) -> dict[str, str]:
    return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()}


def test_every_request_and_attempt_is_counted_where_it_belongs(gate: Governor, s3: Upstream) -> None:
    s3.will(error(503, "SlowDown"), error(500, "InternalError"), reset, answer(200))
    ask(gate.port, "PUT", f"{AT}/b/x/y/z/k", b"12345", _as("run-1"))
    s3.will(answer(200, b"1234567"))
    ask(gate.port, "GET", f"{AT}/b/x/y/z/k", headers=_as("run-2"))
    ask(gate.port, "GET", f"{AT}/b?list-type=2&prefix=x/y/", headers=_as("run-1"))
    s3.will(error(404, "NoSuchKey", request_id="ID404"))
    ask(gate.port, "GET", f"{AT}/b/x/y/none", headers=_as("run-1"))
    ask(gate.port, "POST", f"{AT}/b?delete", b"<Key>x/y/1</Key><Key>x/y/2</Key>", _as("run-1"))

    def of(scope: str, verb: str, *names: str) -> list[Any]:
        found = gate.counts(scope).get(("b", "x/y", verb), {})
        return [found.get(name) for name in names]

    assert of("run-1", "write", "requests", "attempts", "throttled", "failed", "bytes_up") == [1, 4, 1, 2, 5]
    assert of("run-1", "read", "requests", "attempts", "operations") == [2, 2, {"GetObject": 1, "ListObjectsV2": 1}]
    assert of("run-2", "read", "requests", "bytes_down") == [1, 7]
    assert of("run-2", "write", "requests") == [None]
    assert of("", "read", "requests", "given_up", "wasted_share") == [3, 0, 0.0]
    assert of("", "write", "wasted_share") == [0.75]
    deleted = gate.counts("run-1")["b", "", "write"]
    assert (deleted["requests"], deleted["operations"]) == (1, {"DeleteObjects": 1})
    assert gate.counts("run-1")["b", "x/y", "write"]["slowest"].startswith("PutObject x/y/z/k")


def test_large_bodies_are_counted_too(gate: Governor, s3: Upstream) -> None:
    s3.will(answer(200, bytes(2_500_000)))
    ask(gate.port, "PUT", f"{AT}/b/large/k", bytes(3_000_000))
    counts = gate.counts()["b", "large", "write"]
    assert (counts["bytes_up"], counts["bytes_down"]) == (3_000_000, 2_500_000)


def test_the_status_says_what_is_learned_and_nothing_waits(gate: Governor, s3: Upstream) -> None:
    s3.will(answer())
    ask(gate.port, "PUT", f"{AT}/b/x/k", b"x")
    status = gate.status()
    assert (status["upstream"], status["depth"], status["pid"]) == (s3.url, 2, gate.process.pid)
    limits = {(limit["path"], limit["verb"]): limit for limit in status["limits"]}
    for path in ("b", "b/x"):
        limit = limits[path, "write"]
        assert (limit["queued"], limit["in_flight"], limit["accepted"]) == (0, 0, 1)


def _check_emf(line: bytes) -> dict[str, Any]:
    """One line by the specification of the Embedded Metric Format."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) < 1 << 20
    found: dict[str, Any] = json.loads(line)
    assert abs(found["_aws"]["Timestamp"] / 1000 - time.time()) < 60
    (directive,) = found["_aws"]["CloudWatchMetrics"]
    assert 1 <= len(directive["Namespace"]) <= 1024
    assert 1 <= len(directive["Metrics"]) <= 100
    for names in directive["Dimensions"]:
        assert len(names) <= 30
        for name in names:
            assert re.fullmatch(r"[\x20-\x7e]{1,1024}", found[name])
            assert found[name].strip()
    for metric in directive["Metrics"]:
        assert metric["Unit"] in {"Count", "Seconds", "Bytes", "Count/Second"}
        assert isinstance(found[metric["Name"]], int | float)
    return found


@pytest.mark.parametrize("kind", ["file", "udp"])
def test_embedded_metrics_are_what_cloudwatch_reads(s3: Upstream, tmp_path: Path, kind: str) -> None:
    s3.will(error(503, "SlowDown"), answer())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(20)
        target = str(tmp_path / "emf.log") if kind == "file" else f"udp://127.0.0.1:{agent.getsockname()[1]}"
        with governor(s3.url, "--emf", target) as found:
            for path in PATHS:
                ask(found.port, "GET", f"{AT}{path}")
            found.end()
        if kind == "file":
            lines = (tmp_path / "emf.log").read_bytes().splitlines(keepends=True)
        else:
            lines = [agent.recv(1 << 16) for _ in PATHS]
    by_prefix = {(at["Bucket"], at["Prefix"]): at for at in map(_check_emf, lines)}
    assert len(by_prefix) == len(lines) == len(PATHS)
    first = by_prefix["b", "a"]
    assert (first["requests"], first["attempts"], first["throttled"], first["Verb"]) == (1, 2, 1, "read")
    assert first["rate"] > 0


@pytest.mark.parametrize("kind", ["full pipe", "no reader", "no folder", "no agent", "no such host"])
def test_a_dead_target_of_metrics_disturbs_nobody(s3: Upstream, tmp_path: Path, kind: str) -> None:
    s3.will(answer())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR | os.O_NONBLOCK) if kind == "full pipe" else None
    if holder is not None:
        os.write(holder, bytes(65536))
    targets = {"full pipe": str(pipe), "no reader": str(pipe), "no folder": str(tmp_path / "none" / "emf.log"),
               "no agent": "udp://127.0.0.1:9", "no such host": "udp://nowhere.invalid:25888"}  # fmt: skip
    with governor(s3.url, "--emf", targets[kind]) as found:
        assert ask(found.port, "GET", f"{AT}/b/k").status == 200
        assert found.end() == 0
    if holder is not None:
        os.close(holder)


def test_a_line_tells_of_what_came_since_the_last() -> None:
    counts = {"bucket": "b", "prefix": "x", "verb": "read", "requests": 3, "attempts": 4, "throttled": 1, "failed": 0,
              "given_up": 0, "waited_seconds": 1.5, "bytes_up": 0, "bytes_down": 10, "rate": 500.0}  # fmt: skip
    sent: list[bytes] = []
    reporter = emf.EmfReporter(lambda: [counts], sent.append)
    (first,) = reporter.lines(time.time())
    assert reporter.lines(time.time()) == []
    counts["requests"], counts["attempts"] = 5, 7
    (second,) = reporter.lines(time.time())
    assert [(at["requests"], at["attempts"]) for at in map(_check_emf, (first, second))] == [(3, 4), (2, 3)]
