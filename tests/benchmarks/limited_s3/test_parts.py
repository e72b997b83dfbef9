"""The limited S3 server's parts, called directly: admission, listing order, addressing, bodies, counts."""

import base64
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.limited_s3.answers import Answer, S3Error
from tests.benchmarks.limited_s3.bodies import decode
from tests.benchmarks.limited_s3.counts import Counts
from tests.benchmarks.limited_s3.limiter import Fault, FaultDraw, Limiter
from tests.benchmarks.limited_s3.operations import byte_range
from tests.benchmarks.limited_s3.request import Request, bucket_of_host, understand
from tests.benchmarks.limited_s3.service import Service
from tests.benchmarks.limited_s3.settings import Faults, Limits, Settings, SettingsError
from tests.benchmarks.limited_s3.store import StoredObject

GAPS = st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=80)


@given(gaps=GAPS, rate=st.floats(0.5, 200), burst=st.floats(0.1, 2), costs=st.lists(st.integers(1, 30), min_size=80))
def test_no_span_of_time_admits_more_than_its_share(
    gaps: list[float], rate: float, burst: float, costs: list[int]
) -> None:
    limiter = Limiter(Limits(writes_per_second=rate, burst_seconds=burst))
    now, admitted = 1000.0, list[tuple[float, int]]()
    for gap, cost in zip(gaps, costs, strict=False):
        now += gap
        admitted.append((now, cost * limiter.take("b/p", "write", cost, now)))
    full = max(1.0, rate * burst)
    for first, (began, _) in enumerate(admitted):
        taken = [count for _, count in admitted[first:] if count]
        slack = full + (taken[-1] if taken else 0)  # the last one owes what it takes beyond the tokens
        assert sum(taken) <= rate * (now - began) + slack + 1e-6


@given(rate=st.floats(0.5, 200))
def test_demand_above_the_rate_gets_the_rate(rate: float) -> None:
    limiter = Limiter(Limits(reads_per_second=rate, burst_seconds=0.25))
    step = 0.1 / rate
    admitted = sum(limiter.take("b/p", "read", 1, number * step) for number in range(1000))
    assert admitted == pytest.approx(rate * 1000 * step, abs=max(1.0, rate * 0.25) + 1)


def test_a_long_rest_saves_no_more_than_a_burst() -> None:
    limiter = Limiter(Limits(writes_per_second=10, burst_seconds=0.5))
    assert limiter.take("b/p", "write", 1, 0.0)
    assert sum(limiter.take("b/p", "write", 1, 1000.0) for _ in range(20)) == 5


def test_prefixes_and_verbs_do_not_share_a_limit() -> None:
    limiter = Limiter(Limits(writes_per_second=1, reads_per_second=1, burst_seconds=1))
    taken = [
        limiter.take(prefix, verb, 1, 5.0) for prefix in ("b/p", "b/q") for verb in ("write", "read") for _ in "12"
    ]
    assert taken == [1, 0] * 4


@pytest.mark.parametrize(
    ("depth", "key", "prefix"),
    [
        (0, "a/b/c", "bk/"),
        (1, "a/b/c", "bk/a"),
        (1, "c", "bk/"),
        (2, "a/b/c/d", "bk/a/b"),
        (3, "a/b/c", "bk/a/b"),
        (None, "a/b/c/d/e", "bk/a/b/c/d"),
        (1, "a/", "bk/a"),
    ],
)
def test_a_prefix_is_the_first_segments_of_the_folder(depth: int | None, key: str, prefix: str) -> None:
    assert Limiter(Limits(depth=depth)).prefix("bk", key) == prefix


def test_a_multi_delete_takes_a_write_per_key() -> None:
    owing = Limiter(Limits(writes_per_second=10, burst_seconds=1))
    assert owing.take("b/p", "write", 50, 0.0)
    assert not owing.take("b/p", "write", 1, 4.0)
    assert owing.take("b/p", "write", 1, 4.2)


def test_faults_come_at_their_shares_and_again_with_the_same_seed() -> None:
    faults = Faults(errors=0.1, resets=0.06, slow=0.2)

    def drawn(seed: int) -> list[Fault | None]:
        draw = FaultDraw(seed)
        return [draw.request(faults) for _ in range(20_000)]

    found = drawn(7)
    assert found == drawn(7) != drawn(8)
    shares = {fault: found.count(fault) / len(found) for fault in Fault}
    wanted = dict.fromkeys((Fault.ERROR_BEFORE, Fault.ERROR_AFTER), 0.05) | {Fault.SLOW: 0.2}
    wanted |= dict.fromkeys((Fault.RESET_BEFORE, Fault.RESET_AFTER, Fault.RESET_MIDWAY), 0.02)
    assert shares == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize(
    "change", [{"limits": {"writes": 1}}, {"faults": {"errors": 2}}, {"rates": {}}, {"limits": {"reads_per_second": 0}}]
)
def test_wrong_settings_are_refused_by_name(change: dict[str, dict[str, float]]) -> None:
    with pytest.raises(SettingsError, match="expected"):
        Settings().merged(change)


def ask(service: Service, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return service.carry_out(understand(method, target.encode(), {b"host": b"127.0.0.1", **named}), body, "1")


KEYS = st.lists(st.text(st.sampled_from("ab/é\U0001f600\uffee"), min_size=1, max_size=6), max_size=25, unique=True)


@given(
    keys=KEYS,
    prefix=st.sampled_from(["", "a", "a/", "/"]),
    delimiter=st.sampled_from(["", "/", "b"]),
    size=st.integers(1, 5),
)
def test_pages_are_the_whole_listing_in_byte_order(keys: list[str], prefix: str, delimiter: str, size: int) -> None:
    service = Service(Settings(), buckets=("bk",))
    for key in keys:
        service.store.put("bk", key, StoredObject(b"x", "9dd4e461268c8034f5c8564e155c67a6"))
    wanted = list[str]()
    for key in sorted((key for key in keys if key.startswith(prefix)), key=str.encode):
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        shown = key if end < 0 else key[: end + len(delimiter)]
        if shown not in wanted:
            wanted.append(shown)
    found, token, pages = list[str](), "", 0
    while True:
        pages += 1
        target = f"/bk?list-type=2&prefix={prefix}&delimiter={delimiter}&max-keys={size}" + token
        page = bytes(ask(service, "GET", target).body).decode()
        found += re.findall(r"<Key>(.*?)</Key>", page)
        found += re.findall(r"<CommonPrefixes><Prefix>(.*?)</Prefix>", page)
        more = re.search(r"<NextContinuationToken>(.*)</NextContinuationToken>", page)
        if more is None:
            break
        token = f"&continuation-token={more[1].replace('=', '%3D')}"
    assert sorted(found, key=str.encode) == wanted
    assert pages == max(1, -(-len(wanted) // size))


@pytest.mark.parametrize(
    ("header", "size", "span"),
    [
        ("bytes=0-3", 10, (0, 4)),
        ("bytes=4-", 10, (4, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-30", 10, (0, 10)),
        ("bytes=8-30", 10, (8, 10)),
        ("bytes=3-1", 10, None),
        ("lines=1-2", 10, None),
        (None, 10, None),
    ],
)
def test_ranges(header: str | None, size: int, span: tuple[int, int] | None) -> None:
    assert byte_range(header, size) == span


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=0-0", 0), ("bytes=-1", 0)])
def test_a_range_behind_the_end_is_refused(header: str, size: int) -> None:
    with pytest.raises(S3Error) as refused:
        byte_range(header, size)
    assert refused.value.code == "InvalidRange"


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("bk.s3.test.invalid", "bk"),
        ("my.dotted.s3.eu-west-1.amazonaws.com:443", "my.dotted"),
        ("s3.test.invalid", ""),
        ("127.0.0.1:80", ""),
    ],
)
def test_a_virtual_host_names_its_bucket(host: str, bucket: str) -> None:
    assert bucket_of_host(host) == bucket
    request = understand("GET", f"http://{host}/k%20%2B/é%3F".encode("latin-1"), {b"host": b"ignored"})
    assert (request.bucket, request.host) == (bucket or "k +", host)


@pytest.mark.parametrize(
    ("method", "target", "operation", "verb"),
    [
        ("GET", "/", "ListBuckets", "read"),
        ("GET", "/b?list-type=2&prefix=x", "ListObjectsV2", "read"),
        ("GET", "/b/?location", "GetBucketLocation", "read"),
        ("POST", "/b?delete", "DeleteObjects", "write"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart", "write"),
        ("POST", "/b/k?uploads=", "CreateMultipartUpload", "write"),
        ("HEAD", "/b/k", "HeadObject", "read"),
        ("GET", "/b/k?tagging", "Unknown", "read"),
    ],
)
def test_operations_are_named(method: str, target: str, operation: str, verb: str) -> None:
    request = understand(method, target.encode(), {b"host": b"h"})
    assert (request.operation, request.verb) == (operation, verb)


@given(body=st.binary(max_size=300), size=st.integers(1, 50), signed=st.booleans())
def test_an_aws_chunked_body_is_decoded_and_compared(body: bytes, size: int, signed: bool) -> None:
    extension = b";chunk-signature=" + b"0" * 64 if signed else b""
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)

    def sent(crc: int) -> tuple[Request, bytes]:
        trailer = b"x-amz-checksum-crc32:" + base64.b64encode(crc.to_bytes(4, "big"))
        head = {b"content-encoding": b"aws-chunked", b"x-amz-decoded-content-length": str(len(body)).encode()}
        return understand("PUT", b"/b/k", head), framed + b"0" + extension + b"\r\n" + trailer + b"\r\n\r\n"

    assert decode(*sent(zlib.crc32(body))) == body
    with pytest.raises(S3Error, match="crc32"):
        decode(*sent(zlib.crc32(body) ^ 1))


def test_a_write_is_twice_only_when_its_first_answer_was_delivered() -> None:
    counts = Counts(0.0)
    for name in ("once", "replayed", "twice", "replayed"):
        counts.wrote(name)
    counts.wrote("twice")
    counts.doubted("replayed")
    assert counts.written_twice() == ["twice"]


def test_a_failed_conditional_write_changes_nothing() -> None:
    service = Service(Settings(), buckets=("bk",))
    first = ask(service, "PUT", "/bk/k", b"1", if_none_match="*")
    etag = dict(first.headers)["ETag"]
    assert ask(service, "PUT", "/bk/k", b"2", if_none_match="*").status == 412
    assert ask(service, "PUT", "/bk/k", b"2", if_match='"0"').status == 412
    assert ask(service, "PUT", "/bk/other", b"2", if_match=etag).status == 404
    assert ask(service, "PUT", "/bk/other", b"2", if_none_match=etag).status == 501
    assert ask(service, "GET", "/bk/k").body == b"1"
    assert ask(service, "PUT", "/bk/k", b"2", if_match=etag).status == 200
    assert service.counts.applied == {"bk/k": 2}
