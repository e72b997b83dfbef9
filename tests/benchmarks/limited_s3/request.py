"""Interpret an HTTP request as an S3 request: bucket, key, operation."""

from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

READS = frozenset({"GET", "HEAD"})
CONTROL = "/_control/"

_SERVICE = {"GET": "ListBuckets"}
_BUCKET_PLAIN = {"GET": "ListObjects", "PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
_BUCKET_FLAGS = {
    ("GET", "location"): "GetBucketLocation",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "versioning"): "GetBucketVersioning",
    ("POST", "delete"): "DeleteObjects",
}
_OBJECT_PLAIN = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_OBJECT_FLAGS = {
    ("GET", "uploadId"): "ListParts",
    ("PUT", "uploadId"): "UploadPart",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}
_UNKNOWN_FLAGS = frozenset(
    {"acl", "attributes", "cors", "encryption", "legal-hold", "lifecycle", "logging", "notification", "object-lock"}
    | {"policy", "replication", "restore", "retention", "select", "tagging", "torrent", "versions", "website"}
)
UNLIMITED = frozenset({"ListBuckets", "CreateBucket", "HeadBucket", "DeleteBucket", "GetBucketLocation"})


@dataclass(slots=True)
class Request:
    """The head of a request. ``headers`` have lower-case names; ``path`` is as sent, without the query."""

    method: str
    host: str
    path: str
    raw_query: str
    headers: dict[bytes, bytes]
    bucket: str = ""
    key: str = ""
    operation: str = "Unknown"
    query: dict[str, str] = field(default_factory=dict)

    @property
    def verb(self) -> str:
        """``read`` or ``write``: the two rates of S3."""
        return "read" if self.method in READS else "write"

    @property
    def folder_key(self) -> str:
        """The key or listed prefix that determines the limit."""
        return self.key or self.query.get("prefix", "")

    @property
    def name(self) -> str:
        """bucket/key."""
        return f"{self.bucket}/{self.key}"

    def header(self, name: bytes) -> str | None:
        """Return the text of a header, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


def understand(method: str, target: bytes, headers: dict[bytes, bytes]) -> Request:
    """Interpret a request line (origin-form or absolute-form) and its headers."""
    host = headers.get(b"host", b"").decode("latin-1")
    if target[:1] != b"/" and (scheme := target.find(b"://")) > 0:
        authority, slash, rest = target[scheme + 3 :].partition(b"/")
        host, target = authority.decode("latin-1"), slash + rest or b"/"
    raw_path, _, raw_query = target.decode("latin-1").partition("?")
    request = Request(method, host, raw_path, raw_query, headers)
    if raw_path.startswith(CONTROL):
        request.operation = "Control"
        return request
    bucket = bucket_of_host(host)
    path = unquote(raw_path[1:]) if "%" in raw_path else raw_path[1:]
    if bucket:
        request.bucket, request.key = bucket, path
    else:
        request.bucket, _, request.key = path.partition("/")
    if raw_query:
        request.query = _query(raw_query)
    request.operation = _operation(request)
    return request


@lru_cache(maxsize=1024)
def bucket_of_host(host: str) -> str:
    """Return the bucket of a virtual-host-style host (``bucket.s3.…``), "" for path style."""
    labels = host.rpartition(":")[0] or host
    first, dot, _ = labels.partition(".s3.")
    return first if dot else ""


def _query(raw: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in raw.split("&"))
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


def _operation(request: Request) -> str:
    if not request.bucket:
        return _SERVICE.get(request.method, "Unknown")
    plain, flags = (_OBJECT_PLAIN, _OBJECT_FLAGS) if request.key else (_BUCKET_PLAIN, _BUCKET_FLAGS)
    if request.query:
        if not _UNKNOWN_FLAGS.isdisjoint(request.query):
            return "Unknown"
        for (method, flag), operation in flags.items():
            if method == request.method and flag in request.query:
                copied = operation == "UploadPart" and b"x-amz-copy-source" in request.headers
                return "UploadPartCopy" if copied else operation
    if request.method == "PUT" and request.key and b"x-amz-copy-source" in request.headers:
        return "CopyObject"
    return plain.get(request.method, "Unknown")
