"""The witness: says what stands under a key, when the governor has to know what became of a write."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from resources.s3.governor.process import Governor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOST_BYTES = 16 << 20
"""Larger objects are described by their entity tag alone; writes of which there can be doubts are no larger."""
_LONG_POLL_SECONDS = 40.0
"""The governor answers after 20 s at the latest."""
_PAUSE_SECONDS = 0.5
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
Testimony = dict[str, str] | None
"""``etag`` ("" where there is no object) and perhaps ``sha256`` in hexadecimal; None when it cannot be said."""

_watching: dict[Path, int] = {}
_lock = threading.Lock()


def _forget() -> None:
    global _lock  # a child after a fork: the threads are its parent's
    _watching.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)


def watch(governor: Governor, make_client: Callable[[], "S3Client"]) -> None:
    """Answer a governor's questions for as long as this process and the governor live; one thread per governor.

    ``make_client`` is called for the first question. Asking all the time also says that the governor is still needed.
    """
    with _lock:
        if _watching.get(governor.folder) == governor.pid:
            return
        _watching[governor.folder] = governor.pid
    name = f"s3-witness-{governor.pid}"
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
                told = testimony(client, question["bucket"], question["key"])
            except BotoCoreError:
                told = None
            governor.ask("POST", f"/witness/{int(question['number'])}", json.dumps(told))
        except (OSError, KeyError, TypeError, ValueError):
            if not governor.is_alive():
                return
            time.sleep(_PAUSE_SECONDS)


def testimony(client: "S3Client", bucket: str, key: str) -> Testimony:
    """What stands under a key, or None where these credentials cannot tell. Raises BotoCoreError."""
    try:
        head = client.head_object(Bucket=bucket, Key=key)
        if head["ContentLength"] > MOST_BYTES:
            return {"etag": head["ETag"]}
        found = client.get_object(Bucket=bucket, Key=key)
        return {"etag": found["ETag"], "sha256": hashlib.sha256(found["Body"].read()).hexdigest()}
    except ClientError as error:
        return {"etag": ""} if error.response["Error"]["Code"] in _ABSENT else None
