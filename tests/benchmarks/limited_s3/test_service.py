"""The limited S3 server as a process: what real clients and bare sockets get from it."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import trustme
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.benchmarks.limited_s3 import LimitedS3Error, RunningServer, running

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY_ID, SECRET = "TESTKEY", "test-secret"
UNLIMITED = {"writes_per_second": None, "reads_per_second": None, "depth": 1, "burst_seconds": 1.0}
NO_FAULTS = {"errors": 0, "resets": 0, "slow": 0, "slow_seconds": 3, "error_in_200": 0, "key_slow_downs": 0}
ONE_EACH = {"writes_per_second": 0.001, "reads_per_second": 0.001}
"""A bucket holds at least one token: the first request passes, the second one does not."""


@pytest.fixture(scope="module")
def process() -> Iterator[RunningServer]:
    with running(buckets=("bk",), seed=1) as server:
        yield server


@pytest.fixture
def server(process: RunningServer) -> RunningServer:
    process.change(limits=UNLIMITED, faults=NO_FAULTS)
    process.clear()
    return process


def client(url: str, secret: str = SECRET, ca_file: str | None = None) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        verify=ca_file,
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}, signature_version="s3v4"),
    )


@pytest.fixture
def s3(server: RunningServer) -> "S3Client":
    return client(server.url)


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def send(server: RunningServer, text: str, body: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    sock.sendall(text.replace("\n", "\r\n").encode() + body)
    return sock


def received(sock: socket.socket) -> bytes:
    """Everything until the server closes; what came before a reset, too."""
    found = b""
    with sock:
        try:
            while data := sock.recv(65536):
                found += data
        except ConnectionResetError:
            found += b"<reset>"
    return found


def put(server: RunningServer, key: str, body: bytes = b"x") -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("PUT", f"/bk/{key}", body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_an_object_with_an_odd_name_comes_back_whole(s3: "S3Client") -> None:
    key = "a//b c+d/é 😀?&=%41.txt"
    s3.put_object(Bucket="bk", Key=key, Body=b"0123456789", Metadata={"who": "me"}, ContentEncoding="gzip")
    found = s3.get_object(Bucket="bk", Key=key, Range="bytes=2-4")
    assert (found["Body"].read(), found["Metadata"], found["ContentEncoding"]) == (b"234", {"who": "me"}, "gzip")
    assert s3.head_object(Bucket="bk", Key=key)["ContentLength"] == 10
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="bk")["Contents"]] == [key]
    s3.copy_object(Bucket="bk", Key="copy", CopySource={"Bucket": "bk", "Key": key})
    assert s3.delete_objects(Bucket="bk", Delete={"Objects": [{"Key": key}]})["Deleted"] == [{"Key": key}]
    assert s3.get_object(Bucket="bk", Key="copy")["Body"].read() == b"0123456789"
    with pytest.raises(ClientError) as missing:
        s3.get_object(Bucket="bk", Key=key)
    assert code(missing) == "NoSuchKey"


def test_of_racing_conditional_puts_one_wins(server: RunningServer, s3: "S3Client") -> None:
    def attempt(number: int) -> str:
        try:
            s3.put_object(Bucket="bk", Key="log/0.json", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "wrote"

    with ThreadPoolExecutor(8) as pool:
        became = list(pool.map(attempt, range(16)))
    assert sorted(became) == ["PreconditionFailed"] * 15 + ["wrote"]
    assert s3.get_object(Bucket="bk", Key="log/0.json")["Body"].read() == str(became.index("wrote")).encode()
    assert server.keys()["bk/log/0.json"][0] == 1


def test_a_multipart_upload_completes_twice_the_same(server: RunningServer, s3: "S3Client") -> None:
    where: Any = {"Bucket": "bk", "Key": "big"}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    bodies = [b"a" * (5 << 20), b"b"]
    tags = [s3.upload_part(**where, PartNumber=n, Body=body)["ETag"] for n, body in enumerate(bodies, 1)]
    parts: Any = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    assert [part["Size"] for part in s3.list_parts(**where)["Parts"]] == [5 << 20, 1]
    mistaken: Any = {"Parts": [{"PartNumber": 1, "ETag": tags[1]}]}
    with pytest.raises(ClientError) as wrong:
        s3.complete_multipart_upload(**where, MultipartUpload=mistaken)
    assert code(wrong) == "InvalidPart"
    first, again = (s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})["ETag"] for _ in "12")
    assert first == again
    assert first.endswith('-2"')
    assert s3.get_object(Bucket="bk", Key="big")["Body"].read() == b"".join(bodies)
    assert server.keys()["bk/big"][0] == 1


def test_over_the_limit_it_answers_slow_down_and_closes(server: RunningServer) -> None:
    server.change(limits=ONE_EACH)
    assert put(server, "p/1").status == 200
    refused = put(server, "p/2")
    assert (refused.status, refused.headers["Connection"]) == (503, "close")
    answer = received(send(server, "PUT /bk/p/3 HTTP/1.1\nHost: h\nContent-Length: 9\nExpect: 100-continue\n\n"))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"<Code>SlowDown</Code>" in answer
    assert b"100 Continue" not in answer
    assert put(server, "other/1").status == 200
    failure = server.failures()[0]
    assert (failure["name"], failure["request_id"]) == ("bk/p/2", refused.headers["x-amz-request-id"])
    stats = server.stats()
    assert (stats["totals"]["accepted"], stats["totals"]["throttled"]) == (2, 2)
    assert sum(sum(line["throttled"]) for line in stats["timelines"]) == 2
    assert set(server.keys()) == {"bk/p/1", "bk/other/1"}


def test_a_refused_upload_still_hears_why(server: RunningServer) -> None:
    server.change(limits=ONE_EACH)
    put(server, "p/1")
    sock = send(server, "PUT /bk/p/2 HTTP/1.1\nHost: h\nContent-Length: 3000000\n\n", b"z" * 3_000_000)
    answer = received(sock)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"<reset>" not in answer


def test_absolute_addresses_and_virtual_hosts(server: RunningServer) -> None:
    text = (
        "PUT http://bk.s3.test.invalid/v/k HTTP/1.1\nHost: bk.s3.test.invalid\nContent-Length: 2\nConnection: close\n\n"
    )
    assert received(send(server, text, b"hi")).startswith(b"HTTP/1.1 200 ")
    chunked = "PUT /v/c HTTP/1.1\nHost: bk.s3.test.invalid\nTransfer-Encoding: chunked\nConnection: close\n\n"
    assert received(send(server, chunked, b"2\r\nhi\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    found = received(send(server, "GET /bk/v/c HTTP/1.1\nHost: s3.test.invalid\nConnection: close\n\n"))
    assert found.endswith(b"\r\n\r\nhi")


def test_injected_errors_come_before_and_after_applying(server: RunningServer) -> None:
    server.change(faults={"errors": 1})
    assert {put(server, f"p/{n}").status for n in range(30)} == {500}
    written = server.keys("bk/p/")
    assert 0 < len(written) < 30
    assert {found[:2] for found in written.values()} == {(1, 1)}
    server.change(faults={"errors": 0})
    assert {put(server, f"p/{n}").status for n in range(30)} == {200}
    assert server.stats()["written_twice"] == []
    put(server, "p/0")
    assert server.stats()["written_twice"] == ["bk/p/0"]


def test_injected_resets_come_before_within_and_after(server: RunningServer) -> None:
    put(server, "p/big", b"\0" * 100_000)
    server.change(faults={"resets": 1})
    answers = [received(send(server, "GET /bk/p/big HTTP/1.1\nHost: h\n\n")) for _ in range(20)]
    assert all(answer.endswith(b"<reset>") for answer in answers)
    assert {answer.count(b"\0") for answer in answers} == {0, 50_000}
    for number in range(20):
        received(send(server, f"PUT /bk/p/{number} HTTP/1.1\nHost: h\nContent-Length: 1\n\n", b"x"))
    applied = [found for name, found in server.keys("bk/p/").items() if name != "bk/p/big"]
    assert 0 < len(applied) < 20
    assert {found[:2] for found in applied} == {(1, 1)}


def test_a_write_is_in_doubt_when_nobody_waits_for_its_slow_answer(server: RunningServer) -> None:
    server.change(faults={"slow": 1, "slow_seconds": 60})
    sock = send(server, "PUT /bk/p/k HTTP/1.1\nHost: h\nContent-Length: 1\n\n", b"x")
    assert any(server.keys("bk/p/k") for _ in range(1000))
    assert server.keys()["bk/p/k"][:2] == (1, 0)
    sock.close()
    assert any(server.keys()["bk/p/k"][1] == 1 for _ in range(1000))


def test_each_key_of_a_multi_delete_counts(server: RunningServer, s3: "S3Client") -> None:
    for number in range(6):
        s3.put_object(Bucket="bk", Key=f"p/{number}", Body=b"x")
    server.change(limits={"writes_per_second": 0.004, "burst_seconds": 1000})
    keys: Any = {"Objects": [{"Key": f"p/{number}"} for number in range(6)]}
    assert len(s3.delete_objects(Bucket="bk", Delete=keys)["Deleted"]) == 6  # four tokens, and two owed
    with pytest.raises(ClientError) as refused:
        s3.delete_objects(Bucket="bk", Delete=keys)
    assert code(refused) == "SlowDown"
    server.change(limits=UNLIMITED)
    s3.put_object(Bucket="bk", Key="p/4", Body=b"x")
    server.change(faults={"key_slow_downs": 1})
    answer = s3.delete_objects(Bucket="bk", Delete=keys)
    assert [found["Code"] for found in answer["Errors"]] == ["SlowDown"] * 6
    assert {name for name, (_, _, etag) in server.keys().items() if etag} == {"bk/p/4"}


def test_a_copy_that_answers_200_with_an_error_has_not_copied(server: RunningServer, s3: "S3Client") -> None:
    s3.put_object(Bucket="bk", Key="a", Body=b"x")
    server.change(faults={"error_in_200": 1})
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("PUT", "/bk/b", headers={"x-amz-copy-source": "/bk/a"})
    answer = connection.getresponse()
    assert (answer.status, b"<Code>InternalError</Code>" in answer.read()) == (200, True)
    connection.close()
    assert server.keys("bk/b") == {}


def test_every_signature_is_checked() -> None:
    with running(buckets=("bk",), options=("--access-key", KEY_ID, "--secret-key", SECRET)) as server:
        right, wrong = client(server.url), client(server.url, "another")
        right.put_object(Bucket="bk", Key="a b/é+~*", Body=b"x")
        right.list_objects_v2(Bucket="bk", Prefix="a b/é+~*", Delimiter="/")
        with pytest.raises(ClientError) as refused:
            wrong.put_object(Bucket="bk", Key="k", Body=b"x")
        assert code(refused) == "SignatureDoesNotMatch"
        presigned = right.generate_presigned_url("get_object", Params={"Bucket": "bk", "Key": "a b/é+~*"})
        path = presigned.removeprefix(server.url)
        assert (
            received(send(server, f"GET {path} HTTP/1.1\nHost: 127.0.0.1:{server.port}\nConnection: close\n\n"))[-1:]
            == b"x"
        )
        assert put(server, "unsigned").status == 403


def test_it_serves_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key, ca = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    with running(buckets=("bk",), certificate=(chain, key, ca)) as server:
        s3 = client(server.url, ca_file=str(ca))
        s3.put_object(Bucket="bk", Key="k", Body=b"with a trailing checksum")
        assert s3.get_object(Bucket="bk", Key="k")["Body"].read() == b"with a trailing checksum"
        assert server.stats()["totals"]["accepted"] == 2


def test_wrong_questions_are_answered_with_a_sentence(server: RunningServer) -> None:
    with pytest.raises(LimitedS3Error, match="expected a share between 0 and 1"):
        server.change(faults={"errors": 7})
    with pytest.raises(LimitedS3Error, match="did not start"), running(options=("--seed", "none")):
        pass
