"""S3 as a pod on AWS has it: AWS' own host names, and credentials of a web identity, fetched outside the governor."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from urllib.parse import parse_qs

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import NoCredentialsError
from deltalake import DeltaTable, write_deltalake
from obstore.store import S3Store

from resources.s3 import usage as s3_usage
from resources.s3.client import S3Resource
from resources.s3.governor.process import Governor, find_or_start, stop_all
from resources.s3.governor.settings import GovernorSettings
from resources.s3.options import GovernorConfig
from tests.benchmarks.limited_s3.process import RunningServer
from tests.benchmarks.limited_s3.process import running as limited_s3

BUCKET, KEY, SECRET = "a-lake", "KEY-OF-STS", "SECRET-OF-STS"
TABLE = pl.DataFrame({"a": [1]})


class TokenService(BaseHTTPRequestHandler):
    """AssumeRoleWithWebIdentity, for the token that the test writes."""

    valid_for = timedelta(hours=1)
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert asked["WebIdentityToken"] == ["the pod's token"]
        self.asked.append(asked["Action"][0])
        until = (datetime.now(UTC) + self.valid_for).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = (
            '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}"
            f"</SecretAccessKey><SessionToken>SESSION</SessionToken><Expiration>{until}</Expiration></Credentials>"
            "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def token_service() -> Iterator[str]:
    TokenService.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenService)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def service() -> Iterator[RunningServer]:
    """A server that checks signatures and answers under any name, for AWS' that cannot be reached."""
    signed = ("--access-key", KEY, "--secret-key", SECRET, "--require-signature")
    with limited_s3(buckets=(BUCKET,), options=signed) as server:
        yield server


@pytest.fixture
def pod(
    service: RunningServer, token_service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Resource]:
    """S3 by its bucket and region alone, in the surroundings of a pod with a web identity."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "token").write_text("the pod's token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/cippus")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", token_service)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    upstreams = []

    def join(home: Path, settings: GovernorSettings) -> Governor:
        upstreams.append(settings.upstream)
        return find_or_start(home, replace(settings, upstream=service.url))

    monkeypatch.setattr(s3_usage, "join", join)
    home = tmp_path / "governor"
    yield S3Resource(bucket=BUCKET, region="eu-west-1", governor=GovernorConfig(home=str(home)))
    stop_all(home)
    assert set(upstreams) <= {"https://s3.eu-west-1.amazonaws.com"}


CLIENTS: dict[str, Callable[[S3Resource], object]] = {
    "boto3": lambda s3: s3.put("boto3/x", b"1") and s3.get("boto3/x"),
    "s3fs": lambda s3: pq.write_table(pa.table({"a": [1]}), f"{BUCKET}/s3fs/x", filesystem=s3.arrow_filesystem),
    "delta": lambda s3: write_deltalake(s3.uri("delta"), TABLE, mode="append", storage_options=s3.delta_options),
    "polars": lambda s3: TABLE.write_parquet(s3.uri("polars/x"), storage_options=s3.polars_options),
    "obstore": lambda s3: S3Store.from_url(s3.uri(""), **s3.obstore_options).put("obstore/x", b"1"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_works_with_a_web_identity(pod: S3Resource, service: RunningServer, client: str) -> None:
    with s3_usage.measured() as usage:
        CLIENTS[client](pod)
    assert {(found.bucket, found.prefix.split("/")[0]) for found in usage.prefixes} == {(BUCKET, client)}
    assert service.keys(f"{BUCKET}/{client}/")
    assert TokenService.asked  # by botocore, past the governor: it would have refused
    assert usage.total("given_up") == 0


def test_a_scan_works_with_a_web_identity(pod: S3Resource) -> None:
    CLIENTS["delta"](pod)
    table = DeltaTable(pod.uri("delta"), storage_options=pod.delta_options)
    assert pl.scan_delta(table, storage_options=pod.polars_options).collect().height >= 1


def test_credentials_that_expire_are_renewed_for_the_object_store_family(
    pod: S3Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pod.storage_options["AWS_SESSION_TOKEN"] == "SESSION"
    assert pod.storage_options == pod.storage_options
    assert len(TokenService.asked) == 1
    monkeypatch.setattr(TokenService, "valid_for", timedelta(minutes=5))
    pod_later = S3Resource(**pod.model_dump())
    for times in (2, 3):
        assert pod_later.storage_options["AWS_ACCESS_KEY_ID"] == KEY
        assert len(TokenService.asked) >= times


def test_without_credentials_nothing_is_tried(pod: S3Resource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(NoCredentialsError):
        _ = pod.storage_options
