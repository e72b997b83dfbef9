"""All five S3 clients through a governor: everything they do, over TLS, in both styles, and what their errors say."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from tests.benchmarks.limited_s3 import Faults, Limits, RunningServer, Settings, running
from tests.worlds.governor import Governor, ask, governor, write_token
from tests.worlds.governor_clients import BUCKET, CLIENTS, KEY, SECRET, Client, Way

CHECKED = ("--access-key", KEY, "--secret-key", SECRET)
TOKEN = "a/b:c d+e@f%41"
HURT = Settings(faults=Faults(errors=0.02, resets=0.02, error_in_200=0.05, key_slow_downs=0.02))


def _proxy(found: Governor, user: str = "me") -> str:
    return f"http://{user}:{quote(found.token, safe='')}@127.0.0.1:{found.port}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("governor")


@pytest.fixture(scope="module")
def authority(folder: Path) -> trustme.CA:
    found = trustme.CA()
    found.cert_pem.write_to_path(str(folder / "ca.pem"))
    return found


@contextmanager
def _tls(authority: trustme.CA, folder: Path, name: str) -> Iterator[RunningServer]:
    """limited_s3 with a certificate for a name."""
    issued = authority.issue_cert(name)
    issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    paths = (folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")
    with running(HURT, certificate=paths, options=CHECKED) as found:
        yield found


@pytest.fixture(scope="module", params=["http", "https"])
def server(request: pytest.FixtureRequest, authority: trustme.CA, folder: Path) -> Iterator[RunningServer]:
    if request.param == "https":
        with _tls(authority, folder, "127.0.0.1") as found:
            yield found
    else:
        with running(HURT, options=CHECKED) as found:
            yield found


@pytest.fixture(scope="module")
def gate(server: RunningServer, folder: Path) -> Iterator[Governor]:
    options = ("--ca-file", str(folder / "ca.pem")) if server.url.startswith("https") else ()
    with governor(server.url, "--token-file", write_token(folder, TOKEN), *options, token=TOKEN) as found:
        yield found


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.__name__)
def test_everything_a_client_does_goes_through(
    gate: Governor, server: RunningServer, kind: type[Client], style: str
) -> None:
    name = f"{kind.__name__.lower()}-{style}"
    kind(Way(_proxy(gate, name), virtual=style == "virtual")).round_trip(f"{name}/x")
    mine = gate.counts(name)
    assert {bucket for bucket, _, _ in mine} == {BUCKET}
    assert {verb for _, _, verb in mine} == {"read", "write"}
    assert sum(at["given_up"] + at["in_doubt"] for at in mine.values()) == 0
    assert server.stats()["written_twice"] == []


@pytest.fixture(scope="module")
def starved() -> Iterator[Governor]:
    with (
        running(Settings(Limits(writes_per_second=0.001, reads_per_second=0.001))) as server,
        governor(server.url, "--deadline", "0.4") as found,
    ):
        for folder in ("gone/far", "gone/far/k", "gone"):  # which takes what a full bucket holds
            ask(found.port, "GET", f"http://s3.test.invalid/{BUCKET}?list-type=2&prefix={folder}/")
            ask(found.port, "PUT", f"http://s3.test.invalid/{BUCKET}/{folder}/first", b"x")
        yield found


@pytest.mark.parametrize("call", ["put", "get"])
@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.__name__)
def test_every_clients_error_says_why(starved: Governor, kind: type[Client], call: str) -> None:
    client = kind(Way(_proxy(starved)))
    with pytest.raises(Exception, match=r".") as raised:
        getattr(client, call)("gone/far/k")
    said = _chain(raised.value)
    for part in ("Cippus' request governor tried", f"s3://{BUCKET}/gone", " times in ", "of which it waited",
                 "prefix gone/far", "s/s; "):  # fmt: skip
        assert part in said, said


def _chain(error: BaseException | None) -> str:
    """What an error and those that caused it say; botocore leaves what a HEAD's answer says to its headers."""
    parts = []
    while error is not None:
        headers = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        parts += [str(error), headers.get("x-amz-error-message", "")]
        error = error.__cause__ or error.__context__
    return " ".join("\n".join(parts).replace("&apos;", "'").split())  # deltalake folds lines


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_certificate_that_is_not_the_upstreams_is_refused_at_once(
    authority: trustme.CA, folder: Path, tmp_path: Path, wrong: str
) -> None:
    trusted = folder / "ca.pem"
    if wrong == "authority":
        trusted = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(trusted))
    name = "127.0.0.1" if wrong == "authority" else "elsewhere.invalid"
    issued = authority.issue_cert(name)
    issued.private_key_pem.write_to_path(str(tmp_path / "key"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "pem"))
    with (
        running(certificate=(tmp_path / "pem", tmp_path / "key", trusted)) as server,
        governor(server.url, "--ca-file", str(trusted)) as found,
    ):
        told = ask(found.port, "GET", f"http://s3.test.invalid/{BUCKET}/k")
    expected = "unable to get local issuer certificate" if wrong == "authority" else "not valid for '127.0.0.1'"
    assert (told.status, told.headers["x-amz-error-code"]) == (400, "UpstreamNotTrusted")
    assert f"The certificate of 127.0.0.1:{server.port} is not trusted: " in told.text
    assert expected in told.text.replace("&apos;", "'")
    assert "1 times" in told.text
