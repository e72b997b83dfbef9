"""The operations on buckets and single objects: a request and its body to an answer."""

import re
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from tests.benchmarks.limited_s3.answers import SLOW_DOWN, Answer, Body, S3Error, element, xml
from tests.benchmarks.limited_s3.request import Request
from tests.benchmarks.limited_s3.store import Bucket, Store, StoredObject, etag_of

_KEPT = (b"content-type", b"cache-control", b"content-disposition", b"content-language", b"expires")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@lru_cache(maxsize=256)
def http_date(second: int) -> str:
    """A time in HTTP's format."""
    return formatdate(second, usegmt=True)


def kept_headers(request: Request) -> tuple[tuple[str, str], ...]:
    """The headers of a write that S3 gives back with the object: metadata and a few of HTTP's."""
    headers = request.headers
    kept = [(name.decode(), value.decode("latin-1")) for name in _KEPT if (value := headers.get(name))]
    kept += [(k.decode(), v.decode("latin-1")) for k, v in headers.items() if k.startswith(b"x-amz-meta-")]
    encoding = [part.strip() for part in (request.header(b"content-encoding") or "").split(",")]
    remaining = ",".join(part for part in encoding if part and part != "aws-chunked")
    return (*kept, ("content-encoding", remaining)) if remaining else tuple(kept)


def check_write_conditions(store: Store, request: Request) -> None:
    """Apply If-Match and If-None-Match of a write."""
    conditions = request.header(b"if-match"), request.header(b"if-none-match")
    store.check_conditions(request.bucket, request.key, *conditions)


def put_object(store: Store, request: Request, body: Body) -> Answer:
    """Write an object whole."""
    store.bucket(request.bucket)
    check_write_conditions(store, request)
    stored = StoredObject(body, etag_of(body), kept_headers(request))
    store.put(request.bucket, request.key, stored)
    return Answer(200, headers=(("ETag", f'"{stored.etag}"'),))


def get_object(store: Store, request: Request, _: Body) -> Answer:
    """Read an object or a range of it; also HeadObject, whose answer has only the length of a body."""
    stored = store.get(request.bucket, request.key)
    if_match, if_none_match = request.header(b"if-match"), request.header(b"if-none-match")
    if if_match is not None and not _names(if_match, stored.etag):
        raise S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
    if if_none_match is not None and _names(if_none_match, stored.etag):
        return Answer(304, headers=(("ETag", f'"{stored.etag}"'),))
    headers = (
        ("ETag", f'"{stored.etag}"'),
        ("Last-Modified", http_date(int(stored.modified))),
        ("Accept-Ranges", "bytes"),
        *(stored.headers or (("content-type", "binary/octet-stream"),)),
    )
    status, body = 200, stored.body
    span = byte_range(request.header(b"range"), len(stored.body))
    if span is not None:
        start, end = span
        status, body = 206, memoryview(stored.body)[start:end]
        headers += (("Content-Range", f"bytes {start}-{end - 1}/{len(stored.body)}"),)
    if request.method == "HEAD":
        return Answer(status, b"", headers, length=len(body))
    return Answer(status, body, headers)


def _names(tags: str, etag: str) -> bool:
    return any(tag.strip().removeprefix("W/").strip('"') in (etag, "*") for tag in tags.split(","))


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Half-open range of a Range header, None for the whole; raises InvalidRange when it holds no byte."""
    matched = _RANGE.fullmatch(header.strip()) if header else None
    if matched is None or not any(matched.groups()):
        return None
    first, last = matched.groups()
    start, end = (int(first), int(last) + 1 if last else size) if first else (max(0, size - int(last)), size)
    if first and last and end <= start:
        return None
    if start >= size or not size:
        raise S3Error("InvalidRange", "The requested range is not satisfiable")
    return start, min(end, size)


def delete_object(store: Store, request: Request, _: Body) -> Answer:
    """Remove an object."""
    store.delete(request.bucket, request.key)
    return Answer(204)


def keys_to_delete(body: Body) -> tuple[list[str], bool]:
    """Keys of a DeleteObjects, and whether it is quiet; raises MalformedXML."""
    root = parse_xml(body)
    keys = [found.text or "" for found in root.iter("Key")]
    if not 1 <= len(keys) <= 1000:
        raise S3Error("MalformedXML", "A multi-delete takes 1 to 1,000 keys")
    return keys, (root.findtext("Quiet") or "").strip().lower() == "true"


def delete_objects(store: Store, bucket: str, keys: list[str], refused: set[int], *, quiet: bool) -> Answer:
    """Remove objects, but for those at the refused positions, which are answered with SlowDown each."""
    inside = []
    for at, key in enumerate(keys):
        if at in refused:
            failure = element("Key", key) + element("Code", "SlowDown") + element("Message", SLOW_DOWN)
            inside.append(f"<Error>{failure}</Error>")
            continue
        store.delete(bucket, key)
        if not quiet:
            inside.append(f"<Deleted>{element('Key', key)}</Deleted>")
    return xml("DeleteResult", "".join(inside))


def copy_source(store: Store, request: Request) -> StoredObject:
    """The object that x-amz-copy-source names, its conditions checked."""
    source = unquote((request.header(b"x-amz-copy-source") or "").partition("?")[0])
    bucket, _, key = source.removeprefix("/").partition("/")
    found = store.get(bucket, key)
    if_match = request.header(b"x-amz-copy-source-if-match")
    if_none_match = request.header(b"x-amz-copy-source-if-none-match")
    mismatch = if_match is not None and not _names(if_match, found.etag)
    if mismatch or (if_none_match is not None and _names(if_none_match, found.etag)):
        raise S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
    return found


def copy_object(store: Store, request: Request, _: Body) -> Answer:
    """Write an object from another one."""
    store.bucket(request.bucket)
    source = copy_source(store, request)
    check_write_conditions(store, request)
    replaced = (request.header(b"x-amz-metadata-directive") or "").upper() == "REPLACE"
    headers = kept_headers(request) if replaced else source.headers
    stored = StoredObject(source.body, etag_of(source.body), headers)
    store.put(request.bucket, request.key, stored)
    return xml("CopyObjectResult", _etag_and_time(stored.etag, stored.modified))


def _etag_and_time(etag: str, modified: float) -> str:
    return element("ETag", f'"{etag}"') + element("LastModified", iso_date(modified))


def iso_date(time: float) -> str:
    """A time in XML's format, as S3 writes it."""
    return _iso_second(int(time)) + f".{int(time * 1000) % 1000:03d}Z"


@lru_cache(maxsize=256)
def _iso_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def create_bucket(store: Store, request: Request, _: Body) -> Answer:
    """Make a bucket; the same owner may repeat it, as in us-east-1."""
    store.buckets.setdefault(request.bucket, Bucket())
    return Answer(200, headers=(("Location", f"/{request.bucket}"),))


def head_bucket(store: Store, request: Request, _: Body) -> Answer:
    """Whether a bucket is there."""
    store.bucket(request.bucket)
    return Answer(200, headers=(("x-amz-bucket-region", "us-east-1"),))


def delete_bucket(store: Store, request: Request, _: Body) -> Answer:
    """Remove an empty bucket."""
    if store.bucket(request.bucket).keys:
        raise S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty")
    del store.buckets[request.bucket]
    return Answer(204)


def list_buckets(store: Store, _: Request, __: Body) -> Answer:
    """All buckets."""
    each = (f"<Bucket>{element('Name', name)}{element('CreationDate', iso_date(0))}</Bucket>" for name in store.buckets)
    return xml("ListAllMyBucketsResult", f"<Owner><ID>owner</ID></Owner><Buckets>{''.join(each)}</Buckets>")


def bucket_location(store: Store, request: Request, _: Body) -> Answer:
    """The region, which is blank for us-east-1."""
    store.bucket(request.bucket)
    return xml("LocationConstraint", "")


def bucket_versioning(store: Store, request: Request, _: Body) -> Answer:
    """Not versioned."""
    store.bucket(request.bucket)
    return xml("VersioningConfiguration", "")


def parse_xml(body: Body) -> ET.Element:
    """An XML body without its name space; raises MalformedXML."""
    try:
        root = ET.fromstring(bytes(body))  # noqa: S314 - loopback, from our own clients
    except ET.ParseError:
        raise S3Error("MalformedXML", "The XML you provided was not well-formed") from None
    for found in root.iter():
        found.tag = found.tag.rpartition("}")[2]
    return root
