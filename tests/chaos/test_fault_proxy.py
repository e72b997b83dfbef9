"""The fault proxy of chaos runs injects exactly the fault that was decided."""

import threading
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from resources.s3.client import S3Resource
from tests.chaos.fault_proxy import Decision, Lane, Stop, fault_proxy
from tests.chaos.http_messages import EVENT


@pytest.fixture
def lane(s3: S3Resource) -> Iterator[Lane]:
    with fault_proxy(s3.connection.endpoint_url, lanes=2) as lanes:
        yield lanes[0]


def put(s3: S3Resource, lane: Lane, stop: Stop | None, decision: Decision = Decision.GO_ON) -> str:
    """Put an object through the lane, without retries. Return the name of the error, or an empty string."""
    lane.stop = stop
    at = s3.connection
    client = boto3.client(
        "s3",
        endpoint_url=lane.endpoint,
        aws_access_key_id=at.access_key_id,
        aws_secret_access_key=at.secret_access_key,
        region_name=at.region,
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )

    def decide() -> None:
        if stop and stop.wait():
            stop.decide(decision)

    deciding = threading.Thread(target=decide)
    deciding.start()
    try:
        client.put_object(Bucket=s3.bucket, Key="a/b", Body=b"body")
    except (ClientError, ConnectionClosedError) as error:
        return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    finally:
        client.close()
        deciding.join()
        if stop:
            stop.close()
    return ""


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    ("decision", "error"),
    [
        (Decision.ERROR, "InternalError"),
        (Decision.SLOW_DOWN, "SlowDown"),
        (Decision.RESET, "ConnectionClosedError"),
    ],
)
def test_a_fault_is_made_before_or_after_a_request_is_applied(
    s3: S3Resource, lane: Lane, decision: Decision, error: str, applied: bool
) -> None:
    assert put(s3, lane, Stop("PUT .*/a/b", applied=applied), decision) == error
    assert (s3.get("a/b") == b"body") is applied


@pytest.mark.parametrize("applied", [False, True])
def test_what_goes_on_is_answered(s3: S3Resource, lane: Lane, applied: bool) -> None:
    assert put(s3, lane, Stop("PUT .*/a/b", applied=applied)) == ""
    assert s3.get("a/b") == b"body"


def test_only_the_nth_request_that_matches_is_stopped(s3: S3Resource, lane: Lane) -> None:
    stop = Stop("PUT", nth=3)
    for _ in range(2):
        assert not stop.matches("PUT /a") and not stop.matches("GET /a")  # noqa: PT018
    assert stop.matches("PUT /a")
    assert put(s3, lane, None) == ""


def test_a_request_whose_client_is_gone_arrives_later(s3: S3Resource, lane: Lane) -> None:
    stop = lane.stop = Stop("PUT .*/late")
    at = lane.endpoint.removeprefix("http://")
    signed = s3.client.generate_presigned_url("put_object", {"Bucket": s3.bucket, "Key": "late"})
    client = HTTPConnection(at)
    # The signature covers the Host header, which is forwarded unchanged.
    client.request("PUT", signed.removeprefix(s3.connection.endpoint_url), b"late", {"Host": signed.split("/")[2]})
    assert stop.wait()
    client.close()
    assert s3.get("late") is None
    stop.let_through()
    assert s3.get("late") == b"late"
    stop.close()


def test_an_announced_moment_can_be_stopped_and_reset(lane: Lane) -> None:
    stop = lane.stop = Stop("EVENT .*mark")
    client = HTTPConnection(lane.endpoint.removeprefix("http://"))
    client.request("GET", f"{EVENT}mark")
    assert stop.wait()
    stop.decide(Decision.RESET)
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        client.getresponse()
    client.close()
    stop.close()
