"""Interpret HTTP requests as S3 requests: bucket, key, operation, and the prefix that request limits apply to."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import unescape

from resources.errors import PermanentFailure
from resources.s3.governor.rate_control import Verb

_S3_LABEL = re.compile(r"^(?:(?P<bucket>.+)\.)?s3(?:[.-][^/]*)?$")
_OF_OBJECT = (
    ("", "tagging", "{}ObjectTagging"), ("", "acl", "{}ObjectAcl"), ("", "attributes", "{}ObjectAttributes"),
    ("", "retention", "{}ObjectRetention"), ("", "legal-hold", "{}ObjectLegalHold"), ("", "torrent", "{}ObjectTorrent"),
    ("PUT", "partNumber", "UploadPart"), ("POST", "uploads", "CreateMultipartUpload"),
    ("POST", "uploadId", "CompleteMultipartUpload"), ("POST", "restore", "RestoreObject"),
    ("POST", "select", "SelectObjectContent"), ("GET", "uploadId", "ListParts"),
    ("DELETE", "uploadId", "AbortMultipartUpload"), ("", "", "{}Object"),
)  # fmt: skip
"""Method (blank for any), query parameter (blank for none) and operation; the first that fits counts."""
_OF_BUCKET = (
    ("POST", "delete", "DeleteObjects"), ("", "acl", "{}BucketAcl"), ("", "cors", "{}BucketCors"),
    ("", "encryption", "{}BucketEncryption"), ("", "lifecycle", "{}BucketLifecycleConfiguration"),
    ("", "logging", "{}BucketLogging"), ("", "notification", "{}BucketNotificationConfiguration"),
    ("", "policy", "{}BucketPolicy"), ("", "replication", "{}BucketReplication"), ("", "tagging", "{}BucketTagging"),
    ("", "versioning", "{}BucketVersioning"), ("", "website", "{}BucketWebsite"),
    ("GET", "uploads", "ListMultipartUploads"), ("GET", "location", "GetBucketLocation"),
    ("GET", "versions", "ListObjectVersions"), ("GET", "list-type", "ListObjectsV2"), ("GET", "", "ListObjects"),
    ("PUT", "", "CreateBucket"), ("", "", "{}Bucket"),
)  # fmt: skip
_COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}
_ERROR_IN_BODY = frozenset({"DeleteObjects", "CopyObject", "UploadPartCopy", "CompleteMultipartUpload"})
_QUOTES = {"&quot;": '"', "&apos;": "'"}
_KEY = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)


class Replay(StrEnum):
    """How to retry a request that may have been applied although its response was lost."""

    IDEMPOTENT = "idempotent"
    """Reads, and writes that leave the same object twice: retry."""
    CONDITIONAL = "conditional"
    """A conditional put: the first attempt may be why the second is refused."""
    COMPLETION = "completion"
    """Completion of a multipart upload: the upload may be gone because the first attempt succeeded."""


@dataclass(frozen=True, slots=True)
class S3Request:
    """One S3 request. ``folders`` are the key's segments but the last; for a list, those of its prefix."""

    operation: str
    bucket: str
    key: str
    verb: Verb
    replay: Replay = Replay.IDEMPOTENT
    error_in_body: bool = False
    """Whether a 200 may carry an error, so that its body must be read."""
    folders: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The bucket and the folders, which request limits apply to."""
        return (self.bucket, *self.folders)


class HostRefusedError(PermanentFailure):
    """A request names a host that this governor does not forward to."""


@lru_cache(maxsize=1024)
def bucket_of_host(host: str, endpoint: str) -> str:
    """Return the bucket of a virtual-host-style host, "" for path style. Raises HostRefusedError for other hosts.

    Accepts the endpoint and its subdomains. If the endpoint is an address, as a local S3 server has, accepts any host
    with a label `s3` or `s3-…` (as AWS's have) and any address, except those that serve a machine's own credentials.
    """
    name = host.rsplit(":", 1)[0].lower() if not host.endswith("]") else host.lower()
    if name == endpoint:
        return ""
    if name.endswith("." + endpoint):
        return name[: -len(endpoint) - 1]
    if _is_local(endpoint):
        if _is_local(name):
            return ""
        found = _S3_LABEL.match(name)
        if found is not None:
            return found["bucket"] or ""
    raise HostRefusedError(f"This governor forwards to {endpoint} only, not to {name}.")


def _is_local(name: str) -> bool:
    """Return whether a host is `localhost` or an address that is not link-local."""
    try:
        return name == "localhost" or not ip_address(name.strip("[]")).is_link_local
    except ValueError:
        return False


def interpret(method: str, bucket: str, target: bytes, headers: dict[bytes, bytes]) -> S3Request:
    """Interpret a request. ``bucket`` is the host's, or ""; header names are in lower case."""
    raw_path, _, raw_query = target.partition(b"?")
    key = unquote(raw_path.decode("latin-1")).removeprefix("/")
    if not bucket:
        bucket, _, key = key.partition("/")
    fields = dict(parse_qsl(raw_query.decode("latin-1"), keep_blank_values=True)) if raw_query else {}
    named = _OF_OBJECT if key else _OF_BUCKET
    operation = next(name for of, flag, name in named if of in {"", method} and (not flag or flag in fields))
    operation = operation.format(method.title()) if bucket else "ListBuckets"
    if method == "PUT" and b"x-amz-copy-source" in headers:
        operation = _COPIES.get(operation, operation)
    replay = Replay.IDEMPOTENT
    if operation == "CompleteMultipartUpload":
        replay = Replay.COMPLETION
    elif key and method == "PUT" and (b"if-none-match" in headers or b"if-match" in headers):
        replay = Replay.CONDITIONAL
    verb = Verb.READ if method in {"GET", "HEAD"} else Verb.WRITE
    key = key or fields.get("prefix", "")
    folders = tuple(key.split("/")[:-1])
    return S3Request(operation, bucket, key, verb, replay, operation in _ERROR_IN_BODY, folders)


def deleted_keys(body: bytes) -> tuple[int, tuple[str, ...]]:
    """Return how many keys a multi-delete names (each counts as a write), and the folders that all keys share."""
    keys = _KEY.findall(body)
    if not keys:
        return 1, ()
    first, last = min(keys).split(b"/")[:-1], max(keys).split(b"/")[:-1]
    shared: list[str] = []
    for one, other in zip(first, last, strict=False):  # the least and the greatest key share what all keys share
        if one != other:
            break
        shared.append(unescape(one.decode(errors="replace"), _QUOTES))
    return len(keys), tuple(shared)
