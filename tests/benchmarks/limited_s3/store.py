"""Buckets and objects in memory, in S3's key order, and conditions of conditional writes."""

import hashlib
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.benchmarks.limited_s3.answers import Body, S3Error


@dataclass(slots=True)
class StoredObject:
    """One object. ``etag`` is unquoted; ``headers`` are those that S3 stores."""

    body: Body
    etag: str
    headers: tuple[tuple[str, str], ...] = ()
    modified: float = field(default_factory=time.time)


class Bucket:
    """Objects by key, and their keys in UTF-8 byte order, which is the order of code points."""

    __slots__ = ("keys", "objects")

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self.keys: list[str] = []

    def pages_from(self, prefix: str, after: str, delimiter: str) -> Iterator[tuple[str, StoredObject | None]]:
        """(key, object) and (common prefix, None) in order, from behind ``after``: a key or a common prefix."""
        skipped = bool(delimiter) and after.endswith(delimiter) and after.startswith(prefix) and after != prefix
        at = max(bisect_left(self.keys, prefix), bisect_right(self.keys, after) if after else 0)
        if skipped:
            at = max(at, bisect_left(self.keys, _behind(after)))
        while at < len(self.keys) and self.keys[at].startswith(prefix):
            key = self.keys[at]
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                yield key, self.objects[key]
                at += 1
            else:
                common = key[: end + len(delimiter)]
                yield common, None
                at = bisect_left(self.keys, _behind(common), at)


def _behind(prefix: str) -> str:
    """The first string behind all that begin with a prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Store:
    """All buckets. ``wrote`` is called with bucket/key whenever an object's content is applied."""

    def __init__(self, wrote: Callable[[str], None]) -> None:
        self.buckets: dict[str, Bucket] = {}
        self._wrote = wrote

    def bucket(self, name: str) -> Bucket:
        """Return a bucket. Raises NoSuchBucket."""
        found = self.buckets.get(name)
        if found is None:
            raise S3Error("NoSuchBucket", "The specified bucket does not exist")
        return found

    def get(self, bucket: str, key: str) -> StoredObject:
        """Return an object. Raises NoSuchKey."""
        found = self.bucket(bucket).objects.get(key)
        if found is None:
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        return found

    def check_conditions(self, bucket: str, key: str, if_match: str | None, if_none_match: str | None) -> None:
        """Raise S3's 412 or 404 unless the conditions of a write hold."""
        if if_match is None and if_none_match is None:
            return
        found = self.bucket(bucket).objects.get(key)
        if if_none_match is not None:
            if if_none_match.strip() != "*":
                raise S3Error("NotImplemented", "If-None-Match of a write takes only *.")
            if found is not None:
                raise S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        if if_match is not None:
            if found is None:
                raise S3Error("NoSuchKey", "The specified key does not exist.")
            if if_match.strip().strip('"') not in (found.etag, "*"):
                raise S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")

    def put(self, bucket: str, key: str, stored: StoredObject) -> None:
        """Write or replace an object."""
        into = self.bucket(bucket)
        if key not in into.objects:
            insort(into.keys, key)
        into.objects[key] = stored
        self._wrote(f"{bucket}/{key}")

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; no error if it does not exist."""
        into = self.bucket(bucket)
        if into.objects.pop(key, None) is not None:
            del into.keys[bisect_left(into.keys, key)]


def etag_of(body: Body) -> str:
    """S3's entity tag of a single-part object: its MD5 in hex."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
