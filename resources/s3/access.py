"""Try what the lineage does with objects under a prefix, and say what S3 refuses. Leaves no object behind."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.config import Config as BotocoreConfig
from botocore.exceptions import ClientError

from resources.s3.client import S3Resource

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PROBE = "cippus-probe-"
_BODY = b"A probe of permissions; delete it."
_THREADS = 8
_SECONDS = 3
_UNSUPPORTED = {"NotImplemented", "MethodNotAllowed"}


def impatient_client(s3: S3Resource) -> "S3Client":
    """Return a client that sends every request once, directly, and gives up after some seconds."""
    at = s3.connection
    config = BotocoreConfig(
        connect_timeout=_SECONDS,
        read_timeout=_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=2 * _THREADS,
        s3={"addressing_style": "path" if at.endpoint_url else "auto"},
    )
    return s3.session.client("s3", endpoint_url=at.endpoint_url or None, config=config)


def refusals(client: "S3Client", bucket: str, prefixes: tuple[str, ...]) -> list[str]:
    """Return a phrase for each prefix under which S3 refuses to put, get, list or delete, such as
    ``raw/: put (AccessDenied)``. Raises the client's error when S3 does not answer.
    """  # fmt: skip
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda prefix: (prefix, ", ".join(_refused(client, bucket, prefix))), prefixes)
        return [f"{prefix}: {refused}" for prefix, refused in found if refused]


def _refused(client: "S3Client", bucket: str, prefix: str) -> Iterator[str]:
    at: dict[str, Any] = {"Bucket": bucket, "Key": f"{prefix}{PROBE}{uuid4().hex}"}
    # Delete first, an object that does not exist: without this right, a probe would stay.
    cannot_delete = _refusal("delete", lambda: client.delete_object(**at))
    yield from cannot_delete
    yield from _refusal("list", lambda: client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1))
    if cannot_delete:
        return
    cannot_put = _refusal("put", lambda: client.put_object(**at, Body=_BODY))
    yield from cannot_put
    if not cannot_put:
        yield from _refusal("get", lambda: client.get_object(**at)["Body"].read())
        yield from _refusal("delete", lambda: client.delete_object(**at))


def refusals_of_bucket(client: "S3Client", bucket: str) -> list[str]:
    """Return a phrase for each call about versions and unfinished uploads of the bucket that S3 refuses."""
    calls: dict[str, Callable[[], object]] = {
        "get its versioning": lambda: client.get_bucket_versioning(Bucket=bucket),
        "list versions": lambda: client.list_object_versions(Bucket=bucket, MaxKeys=1),
        "list unfinished uploads": lambda: client.list_multipart_uploads(Bucket=bucket, MaxUploads=1),
    }
    return [refused for name, call in calls.items() for refused in _refusal(name, call)]


def honours_conditions(client: "S3Client", bucket: str, prefix: str) -> bool:
    """Return whether the second of two puts with ``If-None-Match: *`` is refused, on which every commit relies."""
    at: dict[str, Any] = {"Bucket": bucket, "Key": f"{prefix}{PROBE}{uuid4().hex}"}
    try:
        client.put_object(**at, Body=_BODY, IfNoneMatch="*")
        try:
            client.put_object(**at, Body=_BODY, IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"] in {"PreconditionFailed", "412"}
        return False
    finally:
        client.delete_object(**at)


def _refusal(name: str, call: Callable[[], object]) -> list[str]:
    try:
        call()
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        return [] if code in _UNSUPPORTED else [f"{name} ({code})"]
    return []
