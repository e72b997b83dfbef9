"""What an answer of S3 means for the request, and the error that a client gets in the end."""

import re
from dataclasses import dataclass
from enum import StrEnum
from xml.sax.saxutils import escape

from resources.s3.governor.s3_request import S3Request

_ERROR = re.compile(rb"<Error>.*?</Error>", re.DOTALL)
_CODE = re.compile(rb"<Code>\s*([^<]*?)\s*</Code>")
_MESSAGE = re.compile(rb"<Message>\s*([^<]*?)\s*</Message>", re.DOTALL)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_A_HEADER = re.compile(r"[^\x20-\x7e]")
_MOST_HEADER_CHARACTERS = 4096
_REQUEST_ID = re.compile(rb"<RequestId>\s*([^<]*?)\s*</RequestId>")
_THROTTLING_CODES = frozenset(
    {"SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
)
_TRANSIENT_CODES = frozenset({"InternalError", "RequestTimeout", "InternalServerError", "BadGateway", "GatewayTimeout"})
_STATUS_OF_CODE = {"SlowDown": 503, "ServiceUnavailable": 503, "InternalError": 500, "RequestTimeout": 400}
WRITE_IN_DOUBT = "WriteInDoubt"
"""Our code for a write of which nobody can say whether it was applied; no client repeats it."""
MAY_HAVE_APPLIED = frozenset({500, 502, 504})


class Verdict(StrEnum):
    """What an answer says of its request."""

    DONE = "done"
    """S3 took it: a success, or a refusal that no repetition changes."""
    THROTTLED = "throttled"
    """Too many requests: nothing was done."""
    TRANSIENT = "transient"
    """S3 failed: the next try may succeed, and a write may have been applied."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with S3's code (or a status in words), its message and its request id."""

    verdict: Verdict
    status: int
    code: str
    message: str = ""
    request_id: str = ""


def judge(status: int, body: bytes, request_id: str, *, error_in_body: bool) -> Judgement:
    """Read an answer whose body is at hand; ``error_in_body`` where a 200 may carry an error."""
    if status < 300:
        found = error_in_body and _worst_error(body)
        if not found:
            return Judgement(Verdict.DONE, status, "", request_id=request_id)
        body, status = found, 200
    code = _text(_CODE, body)
    request_id = request_id or _text(_REQUEST_ID, body)
    message = _text(_MESSAGE, body)
    verdict = _verdict(status, code)
    if status == 200:
        if verdict is Verdict.DONE:  # an error that no repetition changes: the client's, as S3 sent it
            return Judgement(Verdict.DONE, status, "", request_id=request_id)
        status = _STATUS_OF_CODE.get(code, 500)
    return Judgement(verdict, status, code or f"HTTP {status}", message, request_id)


def _verdict(status: int, code: str) -> Verdict:
    if code in _THROTTLING_CODES or status in {429, 503}:
        return Verdict.THROTTLED
    if code in _TRANSIENT_CODES or status in MAY_HAVE_APPLIED:
        return Verdict.TRANSIENT
    return Verdict.DONE


def _worst_error(body: bytes) -> bytes | None:
    """An error in the body of a 200: the first that a repetition may change, else the document's own, else None.

    A multi-delete reports an error per key inside its result; only those that may pass are worth another try.
    """
    errors = _ERROR.findall(body)
    for error in errors:
        if _verdict(200, _text(_CODE, error)) is not Verdict.DONE:
            return bytes(error)
    return bytes(errors[0]) if errors else None


def _text(pattern: re.Pattern[bytes], body: bytes) -> str:
    found = pattern.search(body)
    return found[1].decode(errors="replace") if found else ""


def succeeded(etag: str, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of a put that was found to be done."""
    headers = [
        (b"ETag", _header_value(etag)), (b"x-amz-request-id", _header_value(request_id)), (b"Content-Length", b"0"),
    ]  # fmt: skip
    return headers, b""


def completed(request: S3Request, etag: str, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of a multipart upload that was found to be complete."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUploadResult>'
        f"<Bucket>{_text_of(request.bucket)}</Bucket><Key>{_text_of(request.key)}</Key><ETag>{_text_of(etag)}</ETag>"
        "</CompleteMultipartUploadResult>"
    ).encode()
    return _document(body, request_id), body


def error_document(code: str, message: str, request_id: str = "") -> bytes:
    """S3's XML of an error, which every client puts into its exception."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{_text_of(code)}</Code><Message>{_text_of(message)}</Message>"
        f"<RequestId>{_text_of(request_id)}</RequestId></Error>"
    ).encode()


def _text_of(value: str) -> str:
    """Keys may hold characters that no XML may, not even escaped."""
    return escape(_NOT_IN_XML.sub("\ufffd", value))


def _header_value(value: str) -> bytes:
    """Keys may hold line ends, behind which a header of somebody's choice would begin."""
    return _NOT_IN_A_HEADER.sub("?", value)[:_MOST_HEADER_CHARACTERS].encode()


def error_headers(code: str, message: str, body: bytes, request_id: str) -> list[tuple[bytes, bytes]]:
    """Headers of an error; those of the code and message are for answers without a body (HEAD)."""
    named = [(b"x-amz-error-code", _header_value(code)), (b"x-amz-error-message", _header_value(message))]
    return [*_document(body, request_id), *named]


def _document(body: bytes, request_id: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"Content-Type", b"application/xml"),
        (b"x-amz-request-id", _header_value(request_id)),
        (b"Content-Length", str(len(body)).encode()),
    ]
