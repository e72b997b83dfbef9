"""Where the ledger keeps its objects: the lake's S3, whose conditional writes decide every race.

Each host sees the same S3, a written object survives any crash of ours, and a conditional write has one winner. The
clock of the ledger is S3's too: a host's clock may jump.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from resources.errors import TransientFailure, is_transient
from resources.s3.client import S3Resource

_LOST = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_ABSENT = {"NoSuchKey", "404"}
_ATTEMPTS = 20


class Stored(NamedTuple):
    """An object's bytes, its entity tag, and the store's time when it was read."""

    body: bytes
    etag: str
    at: dt.datetime


class UncertainWriteError(TransientFailure):
    """A write was sent and its answer was lost: it may have been applied."""


class Store(Protocol):
    """Objects with conditional writes. A failed write may raise UncertainWriteError."""

    def get(self, key: str) -> Stored | None:
        """Return an object, None if there is none."""

    def create(self, key: str, body: bytes) -> dt.datetime | None:
        """Write an object that must not exist. Return the store's time, None if it exists."""

    def replace(self, key: str, body: bytes, etag: str) -> dt.datetime | None:
        """Write an object that must still have an entity tag. Return the store's time, None if it has another."""

    def put(self, key: str, body: bytes) -> None:
        """Write an object, whatever is there."""

    def delete(self, keys: list[str]) -> None:
        """Delete objects."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys under a prefix, in no order."""


class ContendedObjectError(TransientFailure):
    """Others changed an object again and again before this change could be written."""


def change(store: Store, key: str, changed: Callable[[bytes | None], bytes | None]) -> None:
    """Change an object by conditional writes, so that two writers lose nothing. When this returns it is written.

    ``changed`` gets the object's bytes, None if there is none, and returns the new bytes, None to leave it. It is
    called again if another writer was faster. Raises ContendedObjectError.
    """
    for _ in range(_ATTEMPTS):
        found = store.get(key)
        after = changed(None if found is None else found.body)
        if after is None or (found is not None and after == found.body):
            return
        try:
            written = store.create(key, after) if found is None else store.replace(key, after, found.etag)
        except UncertainWriteError:
            written = None  # read it again: it may have been written
        if written is not None:
            return
    raise ContendedObjectError(f"{key} was changed by others {_ATTEMPTS} times meanwhile; try again.")


class S3Store:
    """The ledger's objects in the lake's bucket."""

    def __init__(self, s3: S3Resource) -> None:
        self._s3 = s3

    def get(self, key: str) -> Stored | None:
        """Return an object, None if there is none."""
        try:
            found = self._s3.client.get_object(Bucket=self._s3.bucket, Key=key)
            return Stored(found["Body"].read(), found["ETag"], _time(found))
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                return None
            raise

    def create(self, key: str, body: bytes) -> dt.datetime | None:
        """Write an object that must not exist. Return S3's time, None if it exists."""
        self._s3.require_condition("IfNoneMatch")
        return self._write(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, etag: str) -> dt.datetime | None:
        """Write an object that must still have an entity tag. Return S3's time, None if it has another."""
        self._s3.require_condition("IfMatch")
        return self._write(key, body, IfMatch=etag)

    def put(self, key: str, body: bytes) -> None:
        """Write an object, whatever is there."""
        self._s3.put(key, body)

    def delete(self, keys: list[str]) -> None:
        """Delete objects."""
        self._s3.delete(keys)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys under a prefix, in no order."""
        return (item.key for item in self._s3.list_objects(prefix))

    def _write(self, key: str, body: bytes, **condition: Any) -> dt.datetime | None:
        try:
            return _time(self._s3.client.put_object(Bucket=self._s3.bucket, Key=key, Body=body, **condition))
        except ClientError as error:
            if error.response["Error"]["Code"] in _LOST:
                return None
            if is_transient(error):
                raise UncertainWriteError(str(error)) from error
            raise
        except BotoCoreError as error:
            if is_transient(error):
                raise UncertainWriteError(str(error)) from error
            raise


def _time(answer: Any) -> dt.datetime:
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(dt.UTC)
