"""Tell the governor which object is stored under a key, so that it can resolve uncertain writes."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from resources.s3 import usage
from resources.s3.governor.process import Governor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_BYTES = 16 << 20
"""Larger objects are described by their entity tag only; uncertain writes are no larger."""
_LONG_POLL_SECONDS = 40.0
"""The governor answers within 20 s."""
_PAUSE_SECONDS = 0.5
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})


def start(governor: Governor, make_client: Callable[[], "S3Client"]) -> None:
    """Start one thread per governor that answers its questions while this process and the governor live.

    ``make_client`` is called at the first question. The polling also keeps the governor from ending as idle.
    """
    if not usage.needs_verifier(governor):
        return
    name = f"s3-write-verifier-{governor.pid}"
    threading.Thread(target=_answer_all, args=(governor, make_client), name=name, daemon=True).start()


def _answer_all(governor: Governor, make_client: Callable[[], "S3Client"]) -> None:
    client: S3Client | None = None
    while True:
        try:
            question = governor.ask("GET", "/witness", timeout_seconds=_LONG_POLL_SECONDS)
            if question is None:
                continue
            try:
                client = client or make_client()
                found = object_state(client, question["bucket"], question["key"])
            except BotoCoreError:
                found = None
            governor.ask("POST", f"/witness/{int(question['number'])}", json.dumps(found).encode())
        except (OSError, KeyError, TypeError, ValueError):
            if not governor.is_alive():
                return
            time.sleep(_PAUSE_SECONDS)


def object_state(client: "S3Client", bucket: str, key: str) -> dict[str, str] | None:
    """Return the ``etag`` under a key ("" if there is no object) and, of objects up to MAX_BYTES, the ``sha256``.

    Returns None if the credentials do not allow to read the object. Raises BotoCoreError.
    """
    try:
        head = client.head_object(Bucket=bucket, Key=key)
        if head["ContentLength"] > MAX_BYTES:
            return {"etag": head["ETag"]}
        found = client.get_object(Bucket=bucket, Key=key)
        return {"etag": found["ETag"], "sha256": hashlib.sha256(found["Body"].read()).hexdigest()}
    except ClientError as error:
        return {"etag": ""} if error.response["Error"]["Code"] in _ABSENT else None
