"""Conditional writes, on which commits, manifests and the spending ledger rely: refuse an S3 that ignores them.

On such an S3 two writers would both succeed, and one of them would be lost without an error.
"""

import threading
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from resources.errors import PermanentFailure

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Condition = Literal["IfNoneMatch", "IfMatch"]
PROBE = "ledger/conditional-writes"
"""An object that stays: the next process asks with one request, because its put of the key must be refused."""
_BODY = b"Cippus puts this key twice to find out whether S3 honours conditions."
_HEADERS: dict[Condition, str] = {"IfNoneMatch": "If-None-Match", "IfMatch": "If-Match"}
_REFUSED = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_UNSUPPORTED = {"NotImplemented", "501"}
_proven: set[tuple[str, str, Condition]] = set()
_lock = threading.Lock()


class IgnoredConditionError(PermanentFailure):
    """An S3 does not honour the conditions of writes, so nothing is written to it."""


def require(client: "S3Client", endpoint: str, bucket: str, condition: Condition) -> None:
    """Raise IgnoredConditionError unless S3 honours a condition. Asks once per process and bucket."""
    with _lock:
        if (endpoint, bucket, condition) in _proven:
            return
        if not _is_honoured(client, bucket, condition):
            raise IgnoredConditionError(
                f"S3 at {endpoint or 'AWS'} ignores {_HEADERS[condition]} for bucket {bucket}, so two runs could "
                "overwrite each other's commits: use an S3 that supports conditional writes."
            )
        _proven.add((endpoint, bucket, condition))


def _is_honoured(client: "S3Client", bucket: str, condition: Condition) -> bool:
    if condition == "IfMatch":
        # No object has this entity tag. An absent object must be refused too.
        return _is_refused(client, bucket, {"IfMatch": '"00000000000000000000000000000000"'})
    # The first put writes the object if no process has asked before.
    return _is_refused(client, bucket, {"IfNoneMatch": "*"}) or _is_refused(client, bucket, {"IfNoneMatch": "*"})


def _is_refused(client: "S3Client", bucket: str, condition: dict[str, Any]) -> bool:
    try:
        client.put_object(Bucket=bucket, Key=PROBE, Body=_BODY, **condition)
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code in _REFUSED or (code in {"NoSuchKey", "404"} and "IfMatch" in condition):
            return True
        if code in _UNSUPPORTED:
            return False
        raise
    return False
