"""Detect, page by page, that the objects under a prefix differ from those taken in."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

_DIGESTS = 1 << 128
NOTHING = f"{0:032x}"
"""Digest of an empty prefix."""


class Dropped(Protocol):
    """An object of a listing. Its time is ignored: a multipart upload carries the time of its start."""

    @property
    def key(self) -> str: ...  # noqa: D102

    @property
    def etag(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Sweep:
    """A listing of the whole prefix, between two pages. It is the sensor's cursor, always below 4 kB.

    ``page`` is the server's continuation token, blank for the first page. A key to start after would not do: servers
    order keys differently, and would skip objects where one key is the folder of another. ``digest`` covers the objects
    listed so far.
    """

    page: str = ""
    seen: int = 0
    digest: str = NOTHING

    @classmethod
    def read(cls, cursor: str | None) -> "Sweep":
        """Parse a cursor. Return a new sweep if there is none or it is invalid."""
        try:
            found = cls(**json.loads(cursor or ""))
            return cls(str(found.page), int(found.seen), f"{int(found.digest, 16):032x}")
        except (ValueError, TypeError):
            return cls()

    def written(self) -> str:
        """Return the sweep as a cursor."""
        return json.dumps(asdict(self))

    def with_page(self, objects: Collection[Dropped], next_page: str, rule: str) -> "Sweep":
        """Return the sweep after one more page; ``next_page`` is blank after the last."""
        return Sweep(next_page, self.seen + len(objects), digest(objects, rule, self.digest))


def request_key(swept: str, taken: str, run_id: str) -> str | None:
    """Return the run key to request after a sweep's last page, or None if nothing changed.

    ``swept`` is the digest of the prefix; ``taken`` is the digest of the objects that the run ``run_id`` took in. A
    comparison with the last request would miss an object that a run took in and that was deleted before the next
    sweep. Changes behind a sweep are in the next digest. Until a new run succeeds, every tick gives the same key, which
    Dagster runs once. After it, ``run_id`` differs, so a prefix that returns to an earlier state gets a new key.
    """
    return None if swept == taken else f"{run_id}-{swept}"


def digest(objects: Iterable[Dropped], rule: str, before: str = NOTHING) -> str:
    """Return the sum, modulo 2^128, of identities of objects, so that pages can be added in any order."""
    return f"{sum((int(identity(found, rule), 16) for found in objects), int(before, 16)) % _DIGESTS:032x}"


def identity(found: Dropped, rule: str) -> str:
    """Return a 128-bit hexadecimal hash of an object's key, its entity tag, and the rule that reads it."""
    hashed = hashlib.blake2b(digest_size=16, person=b"cippus.arrivals")
    for part in (found.key, found.etag, rule):
        encoded = part.encode()
        hashed.update(len(encoded).to_bytes(4, "big") + encoded)
    return hashed.hexdigest()


D = TypeVar("D", bound=Dropped)


def outstanding(listed: Iterable[D], taken: Collection[str], rule: str) -> tuple[Mapping[str, D], frozenset[str]]:
    """Return identity → object to take in, and the identities that were taken in and no longer exist.

    An overwritten object is in both: its old identity no longer exists, and its new identity is to be taken in.
    """
    there = {identity(found, rule): found for found in listed}
    return {name: found for name, found in there.items() if name not in taken}, frozenset(taken) - there.keys()
