"""Interpret HTTP requests as S3 requests: bucket, key, operation, and the prefix that request limits apply to."""

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import unescape

from resources.s3.governor.rate_control import Verb

_S3_LABEL = re.compile(r"^(?:(?P<bucket>.+)\.)?s3(?:[.-][^/]*)?$")
_OBJECT_PARTS = {
    "tagging": "Tagging", "acl": "Acl", "attributes": "Attributes", "retention": "Retention", "legal-hold": "LegalHold",
    "torrent": "Torrent",
}  # fmt: skip
_BUCKET_PARTS = {
    "acl": "Acl", "cors": "Cors", "encryption": "Encryption", "lifecycle": "LifecycleConfiguration",
    "logging": "Logging", "notification": "NotificationConfiguration", "policy": "Policy", "replication": "Replication",
    "tagging": "Tagging", "versioning": "Versioning", "website": "Website",
}  # fmt: skip
_POSTED = {"uploads": "CreateMultipartUpload", "uploadId": "CompleteMultipartUpload", "restore": "RestoreObject",
           "select": "SelectObjectContent"}  # fmt: skip
_LISTED = {"uploads": "ListMultipartUploads", "location": "GetBucketLocation", "versions": "ListObjectVersions"}
_OF_BUCKET = {"PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
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


class HostRefusedError(ValueError):
    """A request names a host that this governor does not forward to."""


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
    verb = Verb.READ if method in {"GET", "HEAD"} else Verb.WRITE
    if not key:
        return _of_bucket(method, bucket, fields, verb)
    operation = _object_operation(method, fields, headers)
    replay = Replay.IDEMPOTENT
    if operation == "CompleteMultipartUpload":
        replay = Replay.COMPLETION
    elif method == "PUT" and (b"if-none-match" in headers or b"if-match" in headers):
        replay = Replay.CONDITIONAL
    error_in_body = operation in {"CopyObject", "UploadPartCopy", "CompleteMultipartUpload"}
    folders = tuple(key.split("/")[:-1])
    return S3Request(operation, bucket, key, verb, replay, error_in_body, folders)


def _of_bucket(method: str, bucket: str, fields: dict[str, str], verb: Verb) -> S3Request:
    if method == "POST" and "delete" in fields:
        return S3Request("DeleteObjects", bucket, "", verb, error_in_body=True)
    if part := _first(_BUCKET_PARTS, fields):
        return S3Request(f"{method.title()}Bucket{part}", bucket, "", verb)
    if method != "GET":
        return S3Request(_OF_BUCKET.get(method, f"{method.title()}Bucket"), bucket, "", verb)
    listed = _first(_LISTED, fields) or ("ListObjectsV2" if fields.get("list-type") == "2" else "ListObjects")
    prefix = fields.get("prefix", "")
    operation = listed if bucket else "ListBuckets"
    return S3Request(operation, bucket, prefix, verb, folders=tuple(prefix.split("/")[:-1]))


def _object_operation(method: str, fields: dict[str, str], headers: dict[bytes, bytes]) -> str:
    if part := _first(_OBJECT_PARTS, fields):
        return f"{method.title()}Object{part}"
    if method == "PUT":
        of_upload = "partNumber" in fields
        if b"x-amz-copy-source" in headers:
            return "UploadPartCopy" if of_upload else "CopyObject"
        return "UploadPart" if of_upload else "PutObject"
    if method == "POST":
        return _first(_POSTED, fields) or "PostObject"
    if "uploadId" in fields and method in {"GET", "DELETE"}:
        return "ListParts" if method == "GET" else "AbortMultipartUpload"
    return f"{method.title()}Object"


def _first(names: dict[str, str], fields: dict[str, str]) -> str:
    """Return the name of the first query parameter that is present, or ""."""
    return next((name for flag, name in names.items() if flag in fields), "") if fields else ""


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
