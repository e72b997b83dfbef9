"""AWS Signature Version 4 as a server checks it, in headers and in presigned addresses."""

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from tests.benchmarks.limited_s3.answers import S3Error
from tests.benchmarks.limited_s3.request import Request

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    """The one pair of keys that the server knows."""

    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id})"


@dataclass(frozen=True)
class _Claim:
    credential: str
    signed_headers: str
    signature: str
    date: str
    payload: str


def check(request: Request, credentials: Credentials | None) -> None:
    """Raise AccessDenied without a signature, and SignatureDoesNotMatch when it is not the credentials'."""
    claim = _claim(request)
    if claim is None:
        raise S3Error("AccessDenied", "The request is not signed")
    if credentials is None:
        return
    key_id, _, scope = claim.credential.partition("/")
    if key_id == credentials.access_key_id:
        canonical = hashlib.sha256(_canonical(request, claim).encode()).hexdigest()
        text = "\n".join((_ALGORITHM, claim.date, scope, canonical))
        day, region, service, _ = scope.split("/")
        key = _signing_key(credentials.secret_access_key, day, region, service)
        if hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), claim.signature):
            return
    raise S3Error("SignatureDoesNotMatch", "The request signature we calculated does not match the one you provided.")


def _claim(request: Request) -> _Claim | None:
    query = request.query
    if "X-Amz-Signature" in query:
        signed_headers, signature = query.get("X-Amz-SignedHeaders", ""), query["X-Amz-Signature"]
        credential, date = query.get("X-Amz-Credential", ""), query.get("X-Amz-Date", "")
        return _Claim(credential, signed_headers, signature, date, "UNSIGNED-PAYLOAD")
    algorithm, _, rest = (request.header(b"authorization") or "").partition(" ")
    if algorithm != _ALGORITHM:
        return None
    parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    date = request.header(b"x-amz-date") or ""
    payload = request.header(b"x-amz-content-sha256") or hashlib.sha256(b"").hexdigest()
    return _Claim(
        parts.get("Credential", ""), parts.get("SignedHeaders", ""), parts.get("Signature", ""), date, payload
    )


def _canonical(request: Request, claim: _Claim) -> str:
    pairs = (part.partition("=") for part in request.raw_query.split("&") if part)
    recoded = sorted((quote(unquote(name), safe="~"), quote(unquote(value), safe="~")) for name, _, value in pairs)
    query = "&".join(f"{name}={value}" for name, value in recoded if name != "X-Amz-Signature")
    names = claim.signed_headers.split(";")
    headers = "".join(f"{name}:{' '.join((request.header(name.encode()) or '').split())}\n" for name in names)
    path = quote(unquote(request.path), safe="/~")
    return "\n".join((request.method, path, query, headers, claim.signed_headers, claim.payload))


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
