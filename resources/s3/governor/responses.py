"""How an S3 response is classified, and the responses that the governor sends itself."""

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

from resources.s3.governor.request_scheduler import Outcome
from resources.s3.governor.s3_request import S3Request

_ERROR = re.compile(rb"<Error>.*?</Error>", re.DOTALL)
_CODE = re.compile(rb"<Code>\s*([^<]*?)\s*</Code>")
_MESSAGE = re.compile(rb"<Message>\s*([^<]*?)\s*</Message>", re.DOTALL)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_A_HEADER = re.compile(r"[^\x20-\x7e]")
_MAX_HEADER_CHARACTERS = 4096
_REQUEST_ID = re.compile(rb"<RequestId>\s*([^<]*?)\s*</RequestId>")
_THROTTLING_CODES = frozenset(
    {"SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
)
_TRANSIENT_CODES = frozenset({"InternalError", "RequestTimeout", "InternalServerError", "BadGateway", "GatewayTimeout"})
_STATUS_OF_CODE = {"SlowDown": 503, "ServiceUnavailable": 503, "InternalError": 500, "RequestTimeout": 400}
WRITE_IN_DOUBT = "WriteInDoubt"
"""The governor's own code for a write that may or may not have been applied. No client retries it."""

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome with S3's error code (or the HTTP status as text), message and request id."""

    outcome: Outcome
    status: int
    code: str
    message: str = ""
    request_id: str = ""


def judge(status: int, body: bytes, request_id: str, *, error_in_body: bool) -> Judgement:
    """Classify a response whose body was read; ``error_in_body`` if a 200 may carry an error."""
    is_success = status < 300
    if is_success:
        body = _retryable_error(body) if error_in_body else b""
        if not body:
            return Judgement(Outcome.ACCEPTED, status, "", request_id=request_id)
    code = _text(_CODE, body)
    request_id = request_id or _text(_REQUEST_ID, body)
    outcome = Outcome.ACCEPTED
    if code in _THROTTLING_CODES or status in {429, 503}:
        outcome = Outcome.THROTTLED
    elif code in _TRANSIENT_CODES or status in {500, 502, 504}:
        outcome = Outcome.FAILED
    status = _STATUS_OF_CODE.get(code, 500) if is_success else status
    return Judgement(outcome, status, code or f"HTTP {status}", _text(_MESSAGE, body), request_id)


def _retryable_error(body: bytes) -> bytes:
    """Return the first error in the body of a 200 that a retry may change, or b"".

    A multi-delete reports an error per key; permanent errors are passed to the client unchanged.
    """
    retryable = _THROTTLING_CODES | _TRANSIENT_CODES
    return next((error for error in _ERROR.findall(body) if _text(_CODE, error) in retryable), b"")


def _text(pattern: re.Pattern[bytes], body: bytes) -> str:
    found = pattern.search(body)
    return found[1].decode(errors="replace") if found else ""


def put_succeeded(_request: S3Request, etag: str, request_id: str) -> tuple[Headers, bytes]:
    """Return headers and body for a put whose lost success was verified."""
    return [("ETag", etag), ("x-amz-request-id", request_id)], b""


def upload_completed(request: S3Request, etag: str, request_id: str) -> tuple[Headers, bytes]:
    """Return headers and body for a multipart upload whose lost completion was verified."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUploadResult>'
        f"<Bucket>{_xml(request.bucket)}</Bucket><Key>{_xml(request.key)}</Key><ETag>{_xml(etag)}</ETag>"
        "</CompleteMultipartUploadResult>"
    ).encode()
    return document_headers(request_id), body


def error_document(code: str, message: str, request_id: str) -> bytes:
    """Return S3's XML of an error, which every client shows in its exception."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{_xml(code)}</Code><Message>{_xml(message)}</Message>"
        f"<RequestId>{_xml(request_id)}</RequestId></Error>"
    ).encode()


def document_headers(request_id: str) -> Headers:
    """Return the headers of an XML document."""
    return [("Content-Type", "application/xml"), ("x-amz-request-id", request_id)]


def header_value(value: str) -> str:
    """Replace line ends, which could otherwise inject a header through a key."""
    return _NOT_IN_A_HEADER.sub("?", value)[:_MAX_HEADER_CHARACTERS]


def _xml(value: str) -> str:
    """Escape a value; keys may hold characters that XML does not allow even escaped."""
    return escape(_NOT_IN_XML.sub("\ufffd", value))
