"""Decode request bodies from aws-chunked, and verify their checksums."""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable
from hmac import compare_digest

from tests.benchmarks.limited_s3.answers import Body, S3Error
from tests.benchmarks.limited_s3.request import Request

_HEX_DIGEST = 64
_DIGESTS: dict[bytes, Callable[[Body], bytes]] = {
    b"content-md5": lambda body: hashlib.md5(body, usedforsecurity=False).digest(),
    b"x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    b"x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
    b"x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
}


def decode(request: Request, body: Body) -> Body:
    """Return the payload of a request. Raises BadDigest, XAmzContentSHA256Mismatch or IncompleteBody."""
    headers = request.headers
    declared = headers.get(b"x-amz-content-sha256", b"")
    if declared.startswith(b"STREAMING-") or b"aws-chunked" in headers.get(b"content-encoding", b""):
        body, trailers = _unchunk(body)
        wanted = headers.get(b"x-amz-decoded-content-length")
        if wanted is not None and int(wanted) != len(body):
            raise S3Error("IncompleteBody", "The decoded body is not as long as x-amz-decoded-content-length says")
        headers = {**headers, **trailers}
    elif len(declared) == _HEX_DIGEST and not compare_digest(hashlib.sha256(body).hexdigest().encode(), declared):
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise S3Error("XAmzContentSHA256Mismatch", message)
    for name, digest in _DIGESTS.items():
        value = headers.get(name)
        if value is not None and _decoded(value) != digest(body):
            raise S3Error("BadDigest", f"The {name.decode()} you specified did not match what we received.")
    return body


def _decoded(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""


def _unchunk(raw: Body) -> tuple[bytearray, dict[bytes, bytes]]:
    """Return the body without chunk sizes and signatures, and the trailers with lower-case names."""
    data, body, at = bytes(raw), bytearray(), 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            raise S3Error("IncompleteBody", "The aws-chunked body ends within a chunk's header")
        size = int(data[at:end].partition(b";")[0], 16)
        at = end + 2
        if size == 0:
            break
        body += data[at : at + size]
        at += size
        if data[at : at + 2] != b"\r\n":
            raise S3Error("IncompleteBody", "The aws-chunked body has a chunk of another length than it says")
        at += 2
    lines = (line.partition(b":") for line in data[at:].split(b"\r\n") if line)
    return body, {name.strip().lower(): value.strip() for name, _, value in lines}
