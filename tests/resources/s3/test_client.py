"""S3 as the lineage uses it: conditional puts, listings, errors that name their key, and credentials kept to itself."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from deltalake import write_deltalake
from obstore.store import S3Store

from resources.s3 import usage as s3_usage
from resources.s3.client import DamagedObjectError, ListingMarkError, S3Connection, S3Object, S3Resource
from resources.s3.governor.process import Governor
from resources.s3.options import Route
from resources.s3.usage import PrefixUsage
from tests.benchmarks.limited_s3 import process as limited_s3

TABLE = pl.DataFrame({"a": [1]})


def test_what_was_put_comes_back_and_what_was_not_is_none(s3: S3Resource) -> None:
    assert s3.get("a") is None
    assert s3.get_json("a") is None
    assert s3.put("a", b"1")
    assert s3.put("a", b"2")
    assert s3.get("a") == b"2"


def test_a_conditional_put_never_overwrites(s3: S3Resource) -> None:
    assert s3.put_json("a", {"b": 1, "a": [2]}, if_absent=True)
    assert not s3.put_json("a", {}, if_absent=True)
    assert s3.get_json("a") == {"a": [2], "b": 1}
    assert s3.get("a") == b'{"a": [2], "b": 1}'


def test_objects_and_folders_under_a_prefix(s3: S3Resource) -> None:
    for key in ("x/b/1", "x/a/1", "x/a/2", "x/top", "y/c/1"):
        s3.put(key, b"four")
    found = sorted(s3.list_objects("x/a/"), key=lambda item: item.key)
    etag = "8cbad96aced40b3838dd9f07f6ef5772"  # S3's entity tag of a simple put: the md5, without quotes
    assert found == [S3Object("x/a/1", 4, etag), S3Object("x/a/2", 4, etag)]
    assert s3.list_folders("x/") == ["x/a/", "x/b/"]
    assert s3.list_folders("nothing/") == []
    assert list(s3.list_objects("nothing/")) == []


def test_pages_go_on_where_they_stopped_in_whatever_order(s3: S3Resource) -> None:
    keys = {f"x/{name}" for name in ("a", "a-b", "a.b", "a0", "ab/c", "b/c/d", "b/c-d", "b/c.d", "A", "é", "%41")}
    for key in keys:
        s3.put(key, b"")
    for size in (1, 2, 3, len(keys)):
        mark, found = "", []
        while True:
            objects, mark = s3.list_page("x/", mark, size)
            assert len(objects) <= size
            found += [item.key for item in objects]
            if not mark:
                break
            s3.delete([objects[-1].key])
        assert sorted(found) == sorted(keys)
        for key in keys:
            s3.put(key, b"")
    assert s3.list_page("nothing/") == ([], "")


def test_a_page_whose_mark_is_refused_says_so() -> None:
    with limited_s3.running(buckets=("b",)) as server:
        s3 = S3Resource(bucket="b", endpoint_url=server.url, access_key_id="a", secret_access_key="b")
        with pytest.raises(ListingMarkError, match="s3://b/x/ was refused"):
            s3.list_page("x/", "no mark")
        with pytest.raises(ClientError):
            S3Resource(**{**s3.model_dump(), "bucket": "none"}).list_page("x/")


def test_only_the_version_that_was_listed_is_read(s3: S3Resource) -> None:
    s3.put("a", b"1")
    [listed] = s3.list_objects("a")
    assert s3.get("a", listed.etag) == b"1"
    s3.put("a", b"2")
    assert s3.get("a", listed.etag) is None
    assert s3.get("b", listed.etag) is None


def test_deleting_takes_the_named_keys_alone(s3: S3Resource) -> None:
    for key in "abc":
        s3.put(key, b"")
    s3.delete(["a", "c", "never there"])
    assert [item.key for item in s3.list_objects("")] == ["b"]
    s3.delete([])


def test_a_key_that_cannot_be_deleted_is_named(s3: S3Resource) -> None:
    with Stubber(s3.client) as stubbed:
        stubbed.add_response("delete_objects", {"Errors": [{"Key": "kept", "Code": "AccessDenied"}]})
        with pytest.raises(OSError, match=f"s3://{s3.bucket}/kept could not be deleted: AccessDenied"):
            s3.delete(["kept"])


@pytest.mark.parametrize("is_conditional", [True, False])
def test_other_errors_are_raised(s3: S3Resource, is_conditional: bool) -> None:
    for operation in ("put_object", "get_object"):
        with Stubber(s3.client) as stubbed:
            stubbed.add_client_error(operation, "AccessDenied", http_status_code=403)
            with pytest.raises(ClientError, match="AccessDenied"):
                s3.put("a", b"", if_absent=is_conditional) if operation == "put_object" else s3.get("a")


def test_credentials_are_in_no_text() -> None:
    resource = S3Resource(bucket="b", endpoint_url="http://h", access_key_id="KEY", secret_access_key="SECRET")
    shown = f"{resource!r} {resource} {resource.connection!r}"
    assert "KEY" not in shown
    assert "SECRET" not in shown
    assert repr(resource.connection) == "S3Connection(http://h, us-east-1)"
    assert repr(S3Connection("", "KEY", "SECRET", "eu-west-1")) == "S3Connection(AWS, eu-west-1)"


def test_a_damaged_object_is_named(s3: S3Resource) -> None:
    s3.put("some/manifest.json", b"{")
    with pytest.raises(DamagedObjectError, match=f"s3://{s3.bucket}/some/manifest.json is damaged"):
        s3.get_json("some/manifest.json")


CLIENTS: dict[str, Callable[[S3Resource], object]] = {
    "boto3": lambda s3: s3.put("boto3/x", b"1"),
    "s3fs": lambda s3: pq.write_table(pa.table({"a": [1]}), f"{s3.bucket}/s3fs/x", filesystem=s3.arrow_filesystem),
    "delta": lambda s3: write_deltalake(s3.uri("delta"), TABLE, storage_options=s3.delta_options),
    "polars": lambda s3: TABLE.write_parquet(s3.uri("polars/x"), storage_options=s3.polars_options),
    "polars, shared options": lambda s3: TABLE.write_parquet(s3.uri("shared/x"), storage_options=s3.storage_options),
    "obstore": lambda s3: S3Store.from_url(s3.uri(""), **s3.obstore_options).put("obstore/x", b"1"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_goes_through_the_governor(governed: S3Resource, client: str) -> None:
    with s3_usage.measured() as usage:
        CLIENTS[client](governed)
    written = {found.prefix.split("/")[0] for found in usage.prefixes if found.verb == "write"}
    assert written == {client.split(",")[0].replace("polars", "shared" if "," in client else "polars")}
    assert usage.is_governed
    assert all(found.bucket == governed.bucket and found.rate > 0 for found in usage.prefixes)
    assert governed.get(next(item.key for item in governed.list_objects("")))


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_goes_directly_without_one(s3: S3Resource, client: str) -> None:
    with s3_usage.measured() as usage:
        CLIENTS[client](s3)
    assert not usage.is_governed
    assert usage.prefixes == []
    assert list(s3.list_objects(""))


def test_each_use_counts_for_itself(governed: S3Resource) -> None:
    for writes in (1, 3):
        with s3_usage.measured() as usage:
            for number in range(writes):
                governed.put(f"a/b/{number}", b"1")
        [found] = usage.prefixes
        assert (found.bucket, found.prefix, found.verb) == (governed.bucket, "a/b", "write")
        assert (found.requests, found.attempts, found.throttled, found.given_up) == (writes, writes, 0, 0)
    with s3_usage.measured() as usage:
        pass
    assert (usage.prefixes, usage.wasted_percent) == ([], 0.0)


COUNTS = dict.fromkeys(("requests", "attempts", "throttled", "failed", "given_up", "in_doubt", "waited_seconds"), 2)
COUNTED = {**COUNTS, "rate": 7.0, "slowest_seconds": 1.5, "slowest": "PutObject a/b ID"}
AT = ("bucket", "a", "write")


def test_counts_are_what_was_added() -> None:
    later = {**COUNTED, "requests": 10, "attempts": 14, "throttled": 3, "failed": 4, "waited_seconds": 2.25}
    [found] = s3_usage.difference({AT: COUNTED}, {AT: later, ("bucket", "b", "read"): {**COUNTED, "requests": 0}})
    assert found == PrefixUsage(*AT, 8, 12, 1, 2, 0, 0, 0.25, 7.0)
    assert found.wasted_percent == 25.0
    assert s3_usage.difference({AT: COUNTED}, {AT: COUNTED}) == []


def test_a_slowest_request_is_named_when_it_is_new() -> None:
    later = {**COUNTED, "requests": 3, "slowest": "PutObject a/c ID", "slowest_seconds": 1.75}
    [found] = s3_usage.difference({AT: COUNTED}, {AT: later})
    assert (found.slowest, found.slowest_seconds) == ("PutObject a/c ID", 1.75)


def test_a_governor_that_begins_anew_counts_from_nothing() -> None:
    [found] = s3_usage.difference({AT: {**COUNTED, "requests": 9}}, {AT: {**COUNTED, "requests": 1}})
    assert (found.requests, found.attempts, found.slowest) == (1, 2, "PutObject a/b ID")


GOVERNOR = Governor(Path("folder"), 1, 8888, "", "TOKEN")


@pytest.mark.parametrize(
    ("upstream", "is_aws", "endpoint", "style"),
    [
        ("https://s3.eu-west-1.amazonaws.com", True, "http://s3.eu-west-1.amazonaws.com", "virtual"),
        ("https://minio.example:9000", False, "http://minio.example:9000", "path"),
        ("https://minio.example:443", False, "http://minio.example", "path"),
        ("http://127.0.0.1:8333", False, "http://127.0.0.1:8333", "path"),
    ],
)
def test_clients_speak_plain_http_for_the_services_own_host(
    upstream: str, is_aws: bool, endpoint: str, style: str
) -> None:
    route = Route.through(GOVERNOR, upstream, 60.0, is_aws=is_aws)
    assert (route.endpoint_url, route.addressing_style) == (endpoint, style)
    assert route.proxy_url == f"http://{s3_usage.scope()}:TOKEN@127.0.0.1:8888"
    assert "TOKEN" not in repr(route)


def test_clients_wait_longer_than_the_governor_tries() -> None:
    route = Route.through(GOVERNOR, "http://s3.test", 60.0, is_aws=False)
    assert route.request_seconds > 60.0
    assert route.botocore(attempts=1)["read_timeout"] > 60.0


@pytest.mark.parametrize(
    ("region", "upstream"),
    [
        ("us-east-1", "https://s3.us-east-1.amazonaws.com"),
        ("eu-west-1", "https://s3.eu-west-1.amazonaws.com"),
        ("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_awss_own_endpoint_is_botocores(region: str, upstream: str) -> None:
    assert S3Resource(bucket="b", region=region).upstream == upstream
    assert (
        S3Resource(bucket="b", region=region, endpoint_url="https://minio.example/").upstream == "https://minio.example"
    )
