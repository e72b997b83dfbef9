"""What an HTTP request means to S3: bucket, key, operation, and what it counts for under S3's request limits."""

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import unescape

from resources.errors import PermanentFailure
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
_QUOTES = {"&quot;": '"', "&apos;": "'"}
_KEY = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)


class Replay(StrEnum):
    """What may be done when the answer to a request was lost after it may have been applied."""

    FREELY = "freely"
    """Twice is as good as once: reads, and writes that leave the same object."""
    CONDITIONAL = "conditional"
    """A conditional put: a refusal on the second try may be due to the first one."""
    COMPLETION = "completion"
    """The completion of a multipart upload: on the second try the upload may be gone because the first succeeded."""


@dataclass(frozen=True, slots=True)
class S3Request:
    """One request in S3's terms. ``folders`` are the key's segments but the last; a list's are those of its prefix."""

    operation: str
    bucket: str
    key: str
    verb: Verb
    replay: Replay = Replay.FREELY
    error_in_body: bool = False
    """Whether a status of 200 may carry an error, so that the body has to be read before it is believed."""
    folders: tuple[str, ...] = ()
    host: str = ""
    raw_path: bytes = b""
    """The key as it stands in the request line, for asking after it."""

    @property
    def path(self) -> tuple[str, ...]:
        """The bucket and the folders: what the request counts for."""
        return (self.bucket, *self.folders)


class HostRefusedError(PermanentFailure):
    """A request for a host that this governor does not forward to."""


def bucket_of_host(host: str, endpoint_hosts: tuple[str, ...]) -> str:
    """The bucket in a host of virtual-host style, or "" for path style. Raises HostRefusedError for a foreign host.

    Known hosts are the endpoint's and those below it. Where the upstream has no name but an address, as a stand-in for
    S3 has, requests for it go by another one: a name whose first or a later label is `s3` or begins with `s3-` (as all
    of AWS's do), or an address, but never one that a machine's own credentials are served at.
    """
    name = host.rsplit(":", 1)[0].lower() if not host.endswith("]") else host.lower()
    for endpoint in endpoint_hosts:
        if name == endpoint:
            return ""
        if name.endswith("." + endpoint):
            return name[: -len(endpoint) - 1]
    if any(_is_local(endpoint) for endpoint in endpoint_hosts):
        if _is_local(name):
            return ""
        found = _S3_LABEL.match(name)
        if found is not None:
            return found["bucket"] or ""
    message = f"This governor forwards to {', '.join(endpoint_hosts)} only, not to {name}."
    raise HostRefusedError(message)


def _is_local(name: str) -> bool:
    """Whether a host is `localhost` or an address, but for link-local ones."""
    return name == "localhost" or (_is_address(name) and not ip_address(name.strip("[]")).is_link_local)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def interpret(method: str, host: str, bucket: str, target: bytes, headers: dict[bytes, bytes]) -> S3Request:
    """The S3 meaning of a request. ``bucket`` is the host's, or ""; header names are in lower case."""
    raw_path, _, raw_query = target.partition(b"?")
    query = raw_query.decode("latin-1")
    key = unquote(raw_path.decode("latin-1")).removeprefix("/")
    if not bucket:
        bucket, _, key = key.partition("/")
    fields = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    verb = Verb.READ if method in {"GET", "HEAD"} else Verb.WRITE
    if not key:
        return _of_bucket(method, bucket, fields, verb)
    operation = _object_operation(method, fields, headers)
    replay = Replay.FREELY
    if operation == "CompleteMultipartUpload":
        replay = Replay.COMPLETION
    elif method == "PUT" and (b"if-none-match" in headers or b"if-match" in headers):
        replay = Replay.CONDITIONAL
    return S3Request(
        operation,
        bucket,
        key,
        verb,
        replay,
        operation in {"CopyObject", "UploadPartCopy", "CompleteMultipartUpload"},
        tuple(key.split("/")[:-1]),
        host,
        raw_path,
    )


def _of_bucket(method: str, bucket: str, fields: dict[str, str], verb: Verb) -> S3Request:
    if method == "POST" and "delete" in fields:
        return S3Request("DeleteObjects", bucket, "", verb, error_in_body=True)
    part = next((name for flag, name in _BUCKET_PARTS.items() if flag in fields), "") if fields else ""
    if part:
        return S3Request(f"{method.title()}Bucket{part}", bucket, "", verb)
    if method == "GET":
        listed = "ListBuckets" if not bucket else _list_operation(fields)
        prefix = fields.get("prefix", "")
        return S3Request(listed, bucket, prefix, verb, folders=tuple(prefix.split("/")[:-1]))
    named = {"PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
    return S3Request(named.get(method, f"{method.title()}Bucket"), bucket, "", verb)


def _list_operation(fields: dict[str, str]) -> str:
    if "uploads" in fields:
        return "ListMultipartUploads"
    if "location" in fields:
        return "GetBucketLocation"
    if "versions" in fields:
        return "ListObjectVersions"
    return "ListObjectsV2" if fields.get("list-type") == "2" else "ListObjects"


def _object_operation(method: str, fields: dict[str, str], headers: dict[bytes, bytes]) -> str:
    part = next((name for flag, name in _OBJECT_PARTS.items() if flag in fields), "") if fields else ""
    if part:
        return f"{method.title()}Object{part}"
    if method == "PUT":
        of_upload = "partNumber" in fields
        if b"x-amz-copy-source" in headers:
            return "UploadPartCopy" if of_upload else "CopyObject"
        return "UploadPart" if of_upload else "PutObject"
    if method == "POST":
        return next((name for flag, name in _POSTED.items() if flag in fields), "PostObject")
    if method == "GET":
        return "ListParts" if "uploadId" in fields else "GetObject"
    if method == "DELETE":
        return "AbortMultipartUpload" if "uploadId" in fields else "DeleteObject"
    return f"{method.title()}Object"


def deleted_keys(body: bytes) -> tuple[int, tuple[str, ...]]:
    """How many keys a multi-delete names (each counts as a write), and the folders that all of them share."""
    keys = _KEY.findall(body)
    if not keys:
        return 1, ()
    first, last = min(keys).split(b"/")[:-1], max(keys).split(b"/")[:-1]
    shared: list[str] = []
    for one, other in zip(first, last, strict=False):  # what the least and the greatest share, all share
        if one != other:
            break
        shared.append(unescape(one.decode(errors="replace"), _QUOTES))
    return len(keys), tuple(shared)
