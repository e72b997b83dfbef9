"""What requests mean to S3: operations, buckets, keys, folders; hosts that are forwarded to; multi-deletes' keys."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.s3.governor.rate_control import Verb
from resources.s3.governor.s3_request import HostRefusedError, Replay, bucket_of_host, deleted_keys, interpret

COPY = {b"x-amz-copy-source": b"/b/from"}


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation", "verb"),
    [
        ("GET", b"/b/k", {}, "GetObject", Verb.READ),
        ("HEAD", b"/b/k", {}, "HeadObject", Verb.READ),
        ("PUT", b"/b/k", {}, "PutObject", Verb.WRITE),
        ("DELETE", b"/b/k", {}, "DeleteObject", Verb.WRITE),
        ("PUT", b"/b/k", COPY, "CopyObject", Verb.WRITE),
        ("PUT", b"/b/k?partNumber=1&uploadId=u", {}, "UploadPart", Verb.WRITE),
        ("PUT", b"/b/k?partNumber=1&uploadId=u", COPY, "UploadPartCopy", Verb.WRITE),
        ("POST", b"/b/k?uploads", {}, "CreateMultipartUpload", Verb.WRITE),
        ("POST", b"/b/k?uploads=", {}, "CreateMultipartUpload", Verb.WRITE),
        ("POST", b"/b/k?uploadId=u", {}, "CompleteMultipartUpload", Verb.WRITE),
        ("DELETE", b"/b/k?uploadId=u", {}, "AbortMultipartUpload", Verb.WRITE),
        ("GET", b"/b/k?uploadId=u", {}, "ListParts", Verb.READ),
        ("GET", b"/b/k?tagging", {}, "GetObjectTagging", Verb.READ),
        ("PUT", b"/b/k?tagging", {}, "PutObjectTagging", Verb.WRITE),
        ("DELETE", b"/b/k?tagging", {}, "DeleteObjectTagging", Verb.WRITE),
        ("GET", b"/b/k?acl", {}, "GetObjectAcl", Verb.READ),
        ("POST", b"/b?delete", {}, "DeleteObjects", Verb.WRITE),
        ("POST", b"/b/?delete=", {}, "DeleteObjects", Verb.WRITE),
        ("GET", b"/b?list-type=2&prefix=a%2Fb", {}, "ListObjectsV2", Verb.READ),
        ("GET", b"/b?prefix=a", {}, "ListObjects", Verb.READ),
        ("GET", b"/b?uploads", {}, "ListMultipartUploads", Verb.READ),
        ("GET", b"/b?versions", {}, "ListObjectVersions", Verb.READ),
        ("GET", b"/b?location", {}, "GetBucketLocation", Verb.READ),
        ("GET", b"/", {}, "ListBuckets", Verb.READ),
        ("PUT", b"/b", {}, "CreateBucket", Verb.WRITE),
        ("HEAD", b"/b", {}, "HeadBucket", Verb.READ),
        ("DELETE", b"/b/", {}, "DeleteBucket", Verb.WRITE),
        ("POST", b"/b/k?select&select-type=2", {}, "SelectObjectContent", Verb.WRITE),
        ("POST", b"/b/k?restore", {}, "RestoreObject", Verb.WRITE),
        ("GET", b"/b/k?attributes", {}, "GetObjectAttributes", Verb.READ),
        ("GET", b"/b?versioning", {}, "GetBucketVersioning", Verb.READ),
        ("PUT", b"/b?lifecycle", {}, "PutBucketLifecycleConfiguration", Verb.WRITE),
        ("GET", b"/b/k?partNumber=1", {}, "GetObject", Verb.READ),
        ("GET", b"/b/k?torrent", {}, "GetObjectTorrent", Verb.READ),
        ("PUT", b"/b/k?retention", {}, "PutObjectRetention", Verb.WRITE),
        ("PUT", b"/b/k?legal-hold", {}, "PutObjectLegalHold", Verb.WRITE),
        ("PUT", b"/b?acl", {}, "PutBucketAcl", Verb.WRITE),
        ("GET", b"/b?cors", {}, "GetBucketCors", Verb.READ),
        ("DELETE", b"/b?encryption", {}, "DeleteBucketEncryption", Verb.WRITE),
        ("PUT", b"/b?logging", {}, "PutBucketLogging", Verb.WRITE),
        ("PUT", b"/b?notification", {}, "PutBucketNotificationConfiguration", Verb.WRITE),
        ("GET", b"/b?policy", {}, "GetBucketPolicy", Verb.READ),
        ("GET", b"/b?replication", {}, "GetBucketReplication", Verb.READ),
        ("GET", b"/b?tagging", {}, "GetBucketTagging", Verb.READ),
        ("DELETE", b"/b?website", {}, "DeleteBucketWebsite", Verb.WRITE),
    ],
)
def test_operations_are_named_as_s3_names_them(
    method: str, target: bytes, headers: dict[bytes, bytes], operation: str, verb: Verb
) -> None:
    found = interpret(method, "", target, headers)
    assert (found.operation, found.verb) == (operation, verb)
    late = {"DeleteObjects", "CopyObject", "UploadPartCopy", "CompleteMultipartUpload"}  # S3 may say 200 and fail then
    assert found.error_in_body is (operation in late)


@pytest.mark.parametrize(
    ("bucket", "target", "expected"),
    [
        ("", b"/b/a/c/k", ("b", "a/c/k", ("b", "a", "c"))),
        ("b", b"/a/c/k", ("b", "a/c/k", ("b", "a", "c"))),
        ("b", b"/k", ("b", "k", ("b",))),
        ("", b"/b/a%2Fc/k%20%2B+%C3%A9", ("b", "a/c/k ++é", ("b", "a", "c"))),
        ("", b"/b//k", ("b", "/k", ("b", ""))),
        ("", b"/b/a//k", ("b", "a//k", ("b", "a", ""))),
        ("", b"/b/a/", ("b", "a/", ("b", "a"))),
        ("", b"/b?list-type=2&prefix=a%2Fc%2Fpart-", ("b", "a/c/part-", ("b", "a", "c"))),
        ("", b"/b?list-type=2&prefix=", ("b", "", ("b",))),
        ("", b"/b?list-type=2&prefix=a+b%2F", ("b", "a b/", ("b", "a b"))),
        ("b", b"/?list-type=2&prefix=a/", ("b", "a/", ("b", "a"))),
        ("", b"/b/k?versionId=x%2Fy", ("b", "k", ("b",))),
    ],
)
def test_requests_count_for_their_folder(
    bucket: str, target: bytes, expected: tuple[str, str, tuple[str, ...]]
) -> None:
    found = interpret("GET", bucket, target, {})
    assert (found.bucket, found.key, found.path) == expected


@pytest.mark.parametrize(
    ("method", "target", "headers", "replay"),
    [
        ("PUT", b"/b/k", {}, Replay.IDEMPOTENT),
        ("PUT", b"/b/k", {b"if-none-match": b"*"}, Replay.CONDITIONAL),
        ("PUT", b"/b/k", {b"if-match": b'"e"'}, Replay.CONDITIONAL),
        ("GET", b"/b/k", {b"if-none-match": b'"e"'}, Replay.IDEMPOTENT),
        ("POST", b"/b/k?uploadId=u", {}, Replay.COMPLETION),
        ("POST", b"/b/k?select&select-type=2", {}, Replay.IDEMPOTENT),
        ("PUT", b"/b/k?partNumber=1&uploadId=u", {}, Replay.IDEMPOTENT),
    ],
)
def test_what_may_be_repeated(method: str, target: bytes, headers: dict[bytes, bytes], replay: Replay) -> None:
    assert interpret(method, "", target, headers).replay is replay


@pytest.mark.parametrize(
    ("host", "endpoint", "bucket"),
    [
        ("127.0.0.1:9000", "127.0.0.1", ""),
        ("localhost:9000", "127.0.0.1", ""),
        ("[::1]:9000", "127.0.0.1", ""),
        ("[::1]", "127.0.0.1", ""),
        ("s3.test.invalid", "127.0.0.1", ""),
        ("S3.Test.Invalid:80", "127.0.0.1", ""),
        ("lake.s3.test.invalid", "127.0.0.1", "lake"),
        ("my.lake.s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com", "my.lake"),
        ("my.s3.data.s3.eu-west-1.amazonaws.com", "127.0.0.1", "my.s3.data"),
        ("lake.s3-eu-west-1.amazonaws.com", "127.0.0.1", "lake"),
        ("lake.s3.dualstack.eu-west-1.amazonaws.com", "127.0.0.1", "lake"),
        ("lake.storage.internal:9000", "storage.internal", "lake"),
        ("storage.internal", "storage.internal", ""),
    ],
)
def test_hosts_name_buckets(host: str, endpoint: str, bucket: str) -> None:
    assert bucket_of_host(host, endpoint) == bucket


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "evil.invalid:80",
        "storage.internal.evil.invalid",
        "xs3.test.invalid",
        "s3x.invalid",
        "evilstorage.internal",
        "",
    ],
)
def test_foreign_hosts_are_refused(host: str) -> None:
    with pytest.raises(HostRefusedError, match=r"forwards to storage\.internal only"):
        bucket_of_host(host, "storage.internal")


def _delete(*keys: str) -> bytes:
    return f"<Delete>{''.join(f'<Object><Key>{key}</Key></Object>' for key in keys)}</Delete>".encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (_delete("a/b/1", "a/b/2", "a/b/3"), (3, ("a", "b"))),
        (_delete("a/b/1", "a/c/2"), (2, ("a",))),
        (_delete("a/1", "b/2"), (2, ())),
        (_delete("k"), (1, ())),
        (_delete("a/b/1"), (1, ("a", "b"))),
        (_delete("a/bc/1", "a/b/1"), (2, ("a",))),
        (_delete("a &amp; b/1", "a &amp; b/2"), (2, ("a & b",))),
        (b"not XML", (1, ())),
        (b"", (1, ())),
    ],
)
def test_multi_deletes_count_each_key_under_the_folder_they_share(
    body: bytes, expected: tuple[int, tuple[str, ...]]
) -> None:
    assert deleted_keys(body) == expected


SEGMENTS = st.lists(st.text("ab-/. é", min_size=1, max_size=3), min_size=1, max_size=4)


@given(st.lists(SEGMENTS.map("/".join), min_size=1, max_size=8))
def test_a_shared_folder_is_the_longest_that_all_keys_have(keys: list[str]) -> None:
    folders = [key.split("/")[:-1] for key in keys]
    shared: list[str] = []
    for level in zip(*folders, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    assert deleted_keys(_delete(*keys)) == (len(keys), tuple(shared))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda key: key != "/"))
def test_any_key_survives_its_encoding(key: str) -> None:
    path = quote(key).encode()
    for found in (interpret("GET", "b", b"/" + path, {}), interpret("GET", "", b"/b/" + path, {})):
        assert (found.bucket, found.key, found.path) == ("b", key, ("b", *key.split("/")[:-1]))
