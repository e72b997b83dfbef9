"""An S3 that refuses some calls, as a role without their right sees it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BODY = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class _Raw:
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield _BODY

    def read(self, *_: Any) -> bytes:
        return _BODY


@contextmanager
def refusing(client: "S3Client", *operations: str, under: str = "") -> Iterator[None]:
    """Answer AccessDenied to some operations, such as DeleteObject, on keys that begin with ``under``."""

    def answer(request: Any, **_: Any) -> Any:
        is_asked = not under or f"/{under}" in request.url
        return AWSResponse(request.url, 403, HTTPHeaders(), _Raw()) if is_asked else None

    for name in operations:
        client.meta.events.register(f"before-send.s3.{name}", answer)
    try:
        yield
    finally:
        for name in operations:
            client.meta.events.unregister(f"before-send.s3.{name}", answer)
