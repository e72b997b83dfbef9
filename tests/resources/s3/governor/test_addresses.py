"""Who may use a governor, and for which hosts: tokens, foreign hosts, requests for the governor itself."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.misbehaving_upstream import Upstream, answer, upstream
from tests.worlds.governor import Governor, Raw, ask, governor, write_token

TOKEN = "a token: with / signs"


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture(scope="module")
def gate(s3: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Governor]:
    token_file = write_token(tmp_path_factory.mktemp("token"), TOKEN)
    with governor(s3.url, "--token-file", token_file, token=TOKEN) as found:
        yield found


def _known(token: str = TOKEN, user: str = "me") -> dict[str, str]:
    return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


@pytest.mark.parametrize(
    "host",
    ["s3.test.invalid", "b.s3.test.invalid:8080", "b.S3.Test.Invalid", "127.0.0.1:1", "localhost"],
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


@pytest.mark.parametrize("path", ["/status", "/witness", "/bucket/key"])
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


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1", ""])
@pytest.mark.parametrize("target", ["/status", "/healthz", "/witness/1", "http://s3.test.invalid/b/k"])
def test_web_pages_are_refused_with_any_token(gate: Governor, s3: Upstream, target: str, origin: str) -> None:
    s3.will(answer())
    known = _known()["Proxy-Authorization"]
    headers = {"Host": "127.0.0.1", "Origin": origin, "Authorization": known, "Proxy-Authorization": known}
    for method in ("GET", "POST"):
        assert ask(gate.port, method, target, headers=headers).status == 403
    assert s3.seen == []


@pytest.mark.parametrize("host", ["evil.test", "evil.test:80", "127.0.0.1.evil.test", "169.254.169.254", "[::1]"])
@pytest.mark.parametrize("path", ["/status", "/healthz", "/"])
def test_a_name_that_a_page_gave_this_machine_is_not_the_governors(gate: Governor, path: str, host: str) -> None:
    known = {"Authorization": _known()["Proxy-Authorization"]}
    assert ask(gate.port, "GET", path, headers={"Host": host, **known}).status == 403
    assert gate.admin("/status").status == 200


@pytest.mark.parametrize("target", ["/healthz", "/status", "http://s3.test.invalid/b/k"])
@pytest.mark.parametrize("fields", ["", "Host:\r\n", "Host: \r\n"])
def test_a_request_without_a_host_is_refused(gate: Governor, s3: Upstream, target: str, fields: str) -> None:
    s3.will(answer())
    token = f"Proxy-Authorization: {_known()['Proxy-Authorization']}\r\n"
    with Raw(gate.port) as client:
        client.send(f"GET {target} HTTP/1.1\r\n{token}{fields}\r\n".encode())
        assert client.answer().status == 403
    assert s3.seen == []


def test_tunnels_are_refused(gate: Governor) -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in _known().items())
    with Raw(gate.port) as client:
        client.send(f"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n{fields}\r\n".encode())
        assert client.answer().status == 400
        assert client.rest() == b""


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
