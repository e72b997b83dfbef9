"""An S3 that refuses some calls, as a role without their right sees it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class _Raw:
    def __init__(self, code: str, message: str) -> None:
        self._body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body

    def read(self, *_: Any) -> bytes:
        return self._body


@contextmanager
def refusing(
    client: "S3Client", *operations: str, under: str = "", code: str = "AccessDenied", message: str = "Access Denied"
) -> Iterator[None]:
    """Answer an error to some operations, such as DeleteObject, on keys that begin with ``under``."""

    def answer(request: Any, **_: Any) -> Any:
        is_asked = not under or f"/{under}" in request.url
        return AWSResponse(request.url, 403, HTTPHeaders(), _Raw(code, message)) if is_asked else None

    for name in operations:
        client.meta.events.register(f"before-send.s3.{name}", answer)
    try:
        yield
    finally:
        for name in operations:
            client.meta.events.unregister(f"before-send.s3.{name}", answer)
