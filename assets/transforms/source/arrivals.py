"""Noticing that the objects under a prefix are others than those that were taken in, page by page."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

_DIGESTS = 1 << 128
NOTHING = f"{0:032x}"
"""The digest of no objects."""


class Dropped(Protocol):
    """An object as a listing shows it. Its time does not count: a multipart upload appears with its beginning's."""

    @property
    def key(self) -> str: ...  # noqa: D102

    @property
    def etag(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Sweep:
    """A walk over the whole prefix, between two pages: the sensor's cursor, below 4 kB whatever the history.

    ``page`` is the server's own mark of the page that comes next, blank for the first: orders of servers differ, and a
    key to start after loses objects where one's key is the folder of another's. ``digest`` is of what was seen so far.
    """

    page: str = ""
    seen: int = 0
    digest: str = NOTHING

    @classmethod
    def read(cls, cursor: str | None) -> "Sweep":
        """The sweep of a cursor; a new one where there is none or it cannot be read, which costs a sweep at most."""
        try:
            found = cls(**json.loads(cursor or ""))
            return cls(str(found.page), int(found.seen), f"{int(found.digest, 16):032x}")
        except (ValueError, TypeError):
            return cls()

    def written(self) -> str:
        """The sweep as a cursor."""
        return json.dumps(asdict(self))

    def with_page(self, objects: Collection[Dropped], next_page: str, rule: str) -> "Sweep":
        """The sweep one page further; ``next_page`` is blank after the last."""
        return Sweep(next_page, self.seen + len(objects), digest(objects, rule, self.digest))


def request_key(swept: str, taken: str, run_id: str) -> str | None:
    """The key of the run to ask for after a sweep's last page; None where what is there is what was taken in.

    ``swept`` and ``taken`` are digests of what is there and of what the run ``run_id`` took in. Comparing with the last
    request instead would miss an object that a run took in between two sweeps and that was deleted before the second.
    What changes behind a sweep is in the next one's digest. Until the run has ended, every sweep and every repeated
    tick gives the same key, which Dagster runs once; when it has, ``run_id`` is another, so that a prefix which
    returns to an earlier state asks under a new key.
    """
    return None if swept == taken else f"{run_id}-{swept}"


def digest(objects: Iterable[Dropped], rule: str, before: str = NOTHING) -> str:
    """The sum, modulo 2^128, of the identities of objects: pages can be added in any order."""
    return f"{sum((int(identity(found, rule), 16) for found in objects), int(before, 16)) % _DIGESTS:032x}"


def identity(found: Dropped, rule: str) -> str:
    """A 128-bit hash, in hexadecimal, of an object's key and entity tag, and of the rule that it is taken in by."""
    hashed = hashlib.blake2b(digest_size=16, person=b"cippus.arrivals")
    for part in (found.key, found.etag, rule):
        encoded = part.encode()
        hashed.update(len(encoded).to_bytes(4, "big") + encoded)
    return hashed.hexdigest()


D = TypeVar("D", bound=Dropped)


def outstanding(listed: Iterable[D], taken: Collection[str], rule: str) -> tuple[Mapping[str, D], frozenset[str]]:
    """Identity → object of those that are to be taken in, and the identities that were taken in and are gone.

    An object that was overwritten is both: its old identity is gone, and its new one is to be taken in.
    """
    there = {identity(found, rule): found for found in listed}
    return {name: found for name, found in there.items() if name not in taken}, frozenset(taken) - there.keys()
