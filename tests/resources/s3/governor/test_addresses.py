"""Who may use a governor, and for which hosts: tokens, foreign hosts, tunnels, requests for the governor itself."""

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.misbehaving_upstream import Upstream, Wire, answer, upstream
from tests.worlds.governor import Governor, Raw, ask, governor, write_token

TOKEN = "a token: with / signs"


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture(scope="module")
def sts() -> Iterator[Upstream]:
    """Speaks no TLS: a tunnel does not care what goes through it."""
    with upstream() as found:
        yield found


@pytest.fixture(scope="module")
def gate(s3: Upstream, sts: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Governor]:
    token_file = write_token(tmp_path_factory.mktemp("token"), TOKEN)
    options = ("--token-file", token_file, "--sts-host", f"localhost:{sts.port}", "--host", "Store.Internal")
    with governor(s3.url, *options, token=TOKEN) as found:
        yield found


def _known(token: str = TOKEN, user: str = "me") -> dict[str, str]:
    return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


@pytest.mark.parametrize(
    "host",
    ["s3.test.invalid", "b.s3.test.invalid:8080", "store.internal", "b.STORE.internal", "127.0.0.1:1", "localhost"],
)
def test_hosts_of_s3_are_forwarded_to_the_upstream(gate: Governor, s3: Upstream, host: str) -> None:
    s3.will(answer(200, b"found"))
    found = ask(gate.port, "GET", f"http://{host}/b/k", headers=_known())
    assert (found.status, found.body) == (200, b"found")
    assert (s3.seen[0].target, s3.seen[0].headers[b"host"].decode()) == (b"/b/k", host)
    assert b"proxy-authorization" not in s3.seen[0].headers


@pytest.mark.parametrize(
    ("target", "headers", "status", "expected"),
    [
        ("http://example.com/b/k", {}, 403, "not to example.com"),
        ("http://s3.test.invalid/b/k", {"Host": "example.com"}, 403, "not to example.com"),
        ("https://s3.test.invalid/b/k", {}, 400, "speaks TLS to S3 itself"),
        ("ftp://s3.test.invalid/b/k", {}, 400, "http:// requests"),
    ],
)
def test_other_addresses_are_refused(
    gate: Governor, s3: Upstream, target: str, headers: dict[str, str], status: int, expected: str
) -> None:
    s3.will(answer())
    found = ask(gate.port, "GET", target, headers={**_known(), **headers})
    assert found.status == status
    assert expected in found.text
    assert s3.seen == []


@pytest.mark.parametrize(
    "headers",
    [{}, _known("wrong"), _known(""), {"Proxy-Authorization": "Basic %%%"}, {"Proxy-Authorization": f"Bearer {TOKEN}"},
     {"Proxy-Authorization": "Basic /////w=="}, {"Authorization": _known()["Proxy-Authorization"]}],
)  # fmt: skip
def test_only_who_knows_the_token_is_forwarded(gate: Governor, s3: Upstream, headers: dict[str, str]) -> None:
    s3.will(answer())
    found = ask(gate.port, "GET", "http://s3.test.invalid/b/k", headers=headers)
    assert found.status == 407
    assert found.headers["proxy-authenticate"].startswith("Basic realm=")
    assert TOKEN not in found.text
    assert s3.seen == []


@pytest.mark.parametrize("path", ["/status", "/metrics", "/witness", "/bucket/key"])
def test_the_governor_says_nothing_of_itself_to_strangers(gate: Governor, path: str) -> None:
    assert gate.admin(path, token="wrong").status == 401
    assert ask(gate.port, "GET", path, headers={"Host": "127.0.0.1"}).status == 401


@pytest.mark.parametrize("headers", [{}, {"Authorization": _known()["Proxy-Authorization"]}])
@pytest.mark.parametrize("target", ["//[", "//]/status", "//[::1/status?scope=x"])
def test_a_target_that_is_none_is_refused(gate: Governor, target: str, headers: dict[str, str]) -> None:
    assert ask(gate.port, "GET", target, headers={"Host": "127.0.0.1", **headers}).status == 400
    assert "Traceback" not in "".join(gate.log)


def test_an_s3_request_for_the_governor_itself_is_told_that_it_is_a_proxy(gate: Governor, s3: Upstream) -> None:
    s3.will(answer())
    found = gate.admin("/bucket/key")
    assert found.status == 404
    assert "proxy for S3 and no endpoint" in json.loads(found.body)["error"]
    assert s3.seen == []


def test_anybody_may_ask_whether_it_lives(gate: Governor, s3: Upstream) -> None:
    found = ask(gate.port, "GET", "/healthz", headers={"Host": "127.0.0.1"})
    assert json.loads(found.body) == {"pid": gate.process.pid, "upstream": s3.url}


def _tunnel(port: int, target: str, early: bytes = b"", token: str = TOKEN) -> Raw:
    fields = "".join(f"{name}: {value}\r\n" for name, value in _known(token).items())
    return Raw(port).send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n".encode(), early)


def test_tunnels_reach_the_token_service(gate: Governor, sts: Upstream) -> None:
    sts.will(lambda wire: wire.send(b"said " + wire.until(b"\n")))
    with _tunnel(gate.port, f"LOCALHOST:{sts.port}") as client:
        assert client.some() == b"HTTP/1.1 200 Connection Established\r\n\r\n"
        client.send(b"GET / HTTP/1.1\r\n\r\nhello\n")
        assert client.some() == b"said hello\n"


def test_bytes_behind_a_connect_reach_the_token_service(gate: Governor, sts: Upstream) -> None:
    sts.will(lambda wire: wire.send(b"said " + wire.until(b"\n")))
    with _tunnel(gate.port, f"localhost:{sts.port}", early=b"GET / HTTP/1.1\r\n\r\nearly\n") as client:
        expected = b"HTTP/1.1 200 Connection Established\r\n\r\nsaid early\n"
        found = b""
        while len(found) < len(expected) and (part := client.some()):
            found += part
        assert found == expected


def test_a_token_service_that_ends_ends_the_tunnel(gate: Governor, sts: Upstream) -> None:
    def end(_: Wire) -> None:
        raise EOFError

    sts.will(end)
    with _tunnel(gate.port, f"localhost:{sts.port}", early=b"GET / HTTP/1.1\r\n\r\n") as client:
        assert client.rest() == b"HTTP/1.1 200 Connection Established\r\n\r\n"


@pytest.mark.parametrize("target", ["localhost:443", "s3.test.invalid:443", "localhost", ":443", "127.0.0.1:{port}"])
def test_tunnels_go_nowhere_else(gate: Governor, sts: Upstream, target: str) -> None:
    with _tunnel(gate.port, target.format(port=sts.port)) as client:
        found = client.answer()
        assert found.status in {400, 403}
        assert client.rest() == b""
    if found.status == 403:
        assert f"to localhost:{sts.port} only" in found.text


def test_no_tunnel_without_the_token_or_the_setting(gate: Governor, sts: Upstream, s3: Upstream) -> None:
    with _tunnel(gate.port, f"localhost:{sts.port}", token="wrong") as client:
        assert client.answer().status == 407
    with governor(s3.url) as other, _tunnel(other.port, f"localhost:{sts.port}") as client:
        found = client.answer()
    assert (found.status, "tunnels to no host" in found.text) == (403, True)


def test_a_token_service_that_is_not_there_is_named(s3: Upstream, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        governor(s3.url, "--sts-host", f"127.0.0.1:{port}") as found,
        _tunnel(found.port, f"127.0.0.1:{port}") as client,
    ):
        said = client.answer()
    assert said.status == 502
    assert f"127.0.0.1:{port}" in said.text


def test_it_listens_on_loopback_only(gate: Governor) -> None:
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].partition(":")[2], 16) == gate.port
    ]  # fmt: skip
    assert listening == [f"0100007F:{gate.port:04X}"]
    everywhere = [line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    assert not [at for at in everywhere if int(at.partition(":")[2], 16) == gate.port]


def test_without_a_token_scopes_are_counted_apart(s3: Upstream) -> None:
    s3.will(answer())
    with governor(s3.url) as found:
        for user in ("one", "two", "two"):
            ask(found.port, "GET", "http://s3.test.invalid/b/a/k", headers=_known("", user))
        ask(found.port, "GET", "http://s3.test.invalid/b/a/k")
        requests = {
            scope: [at["requests"] for at in found.counts(scope).values()] for scope in ("one", "two", "none", "")
        }
    assert requests == {"one": [1], "two": [2], "none": [], "": [4]}
