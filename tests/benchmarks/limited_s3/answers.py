"""Responses and errors in S3's format."""

from dataclasses import dataclass
from http import HTTPStatus
from xml.sax.saxutils import escape

XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
Body = bytes | bytearray | memoryview

SLOW_DOWN = "Please reduce your request rate."
INTERNAL_ERROR = "We encountered an internal error. Please try again."
_STATUS = {
    "AccessDenied": 403,
    "BadDigest": 400,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "EntityTooSmall": 400,
    "IncompleteBody": 400,
    "InternalError": 500,
    "InvalidArgument": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "MalformedXML": 400,
    "MethodNotAllowed": 405,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "NotModified": 304,
    "PreconditionFailed": 412,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "XAmzContentSHA256Mismatch": 400,
}


@dataclass(slots=True)
class Answer:
    """A status, headers and a body; ``length`` is the Content-Length of a HEAD."""

    status: int = 200
    body: Body = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


class S3Error(Exception):
    """A request failed with one of S3's error codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = _STATUS[code]


def xml(root: str, inside: str, *, status: int = 200) -> Answer:
    """Return an XML document in S3's namespace."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{XMLNS}">{inside}</{root}>'
    return Answer(status, text.encode(), (("Content-Type", "application/xml"),))


def element(name: str, value: object) -> str:
    """Return one element with text."""
    return f"<{name}>{escape(str(value))}</{name}>"


def error_answer(code: str, message: str, bucket: str, key: str, request_id: str, *, status: int = 0) -> Answer:
    """Return S3's error document; ``status`` replaces the code's own (a 200 with an error)."""
    where = (element("BucketName", bucket) if bucket else "") + (element("Key", key) if key else "")
    ids = element("RequestId", request_id) + element("HostId", "limited-s3")
    inside = element("Code", code) + element("Message", message) + where + ids
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inside}</Error>'
    status = status or _STATUS[code]
    body = b"" if status == HTTPStatus.NOT_MODIFIED else text.encode()
    return Answer(status, body, (("Content-Type", "application/xml"),))
