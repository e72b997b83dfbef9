"""Values that go into and come out of an index: points, sparse vectors, filters, candidates; and its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resources.errors import CippusError, InputError, PermanentFailure, TransientFailure

DENSE, SPARSE = "dense", "bm25"
NO_DIGEST = -1
Wanted = str | frozenset[str] | None
"""A value that a field must have, or several of which it must have one; None for any."""


class VectorIndexError(CippusError):
    """The index refused a call or failed."""


class IndexUnavailableError(VectorIndexError, TransientFailure):
    """The server does not answer, or another process has locked the embedded index."""


class IndexAccessError(VectorIndexError, PermanentFailure):
    """The server refuses the API key."""


class QdrantAddressError(VectorIndexError, InputError):
    """A setting is not the address of a Qdrant server; the message is one sentence without user or password."""


class CollectionMissingError(VectorIndexError, InputError):
    """The collection was never created, or is lost."""


class CollectionMismatchError(VectorIndexError):
    """The collection holds vectors of another model."""


class AliasRaceError(VectorIndexError, TransientFailure):
    """Another process promoted a generation at the same time, and its generation is served."""


class NoPreviousError(VectorIndexError, InputError):
    """There is no generation to roll back to."""


def id_in_engine(id_: str) -> str | int:
    """Return an id as an engine stores it: UUIDs are ours, numbers come from other writers."""
    return int(id_) if id_.isascii() and id_.isdigit() else id_


@dataclass(frozen=True, eq=False)
class SparseVector:
    """Term ids (uint32) and weights (float32); may be empty. A vector that was read may be invalid for writing."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def of(cls, indices: Sequence[int], values: Sequence[float]) -> "SparseVector":
        """Build a vector from an engine's lists."""
        return cls(np.asarray(indices, np.uint32), np.asarray(values, np.float32))

    def checked(self) -> "SparseVector":
        """Return the vector. Raise VectorIndexError unless ids ascend strictly and every weight is finite."""
        if self.indices.shape != self.values.shape or self.indices.ndim != 1:
            raise VectorIndexError(
                f"Sparse indices {self.indices.shape} and values {self.values.shape} differ in shape."
            )
        if (self.indices[1:] <= self.indices[:-1]).any() or not np.isfinite(self.values).all():
            raise VectorIndexError("Sparse indices must be strictly ascending, and their values finite.")
        return self


@dataclass(frozen=True, eq=False)
class IndexPoint:
    """One chunk in the index: ``id`` a UUID, ``dense`` float32 (dimension,), ``payload`` JSON values.

    Engines store ``dense`` at unit length, and nothing for zeros: the model could not read the text. Other writers may
    damage a collection: a point that was read may have an empty or non-finite dense vector, so that it can be found
    and repaired.
    """

    id: str
    dense: NDArray[np.float32]
    sparse: SparseVector
    payload: Mapping[str, Any]

    @classmethod
    def of(cls, id_: object, vectors: Mapping[str, Any] | None, payload: Mapping[str, Any] | None) -> "IndexPoint":
        """Build a point from an engine's id, vectors by name, and payload."""
        by_name = vectors or {}
        terms = by_name.get(SPARSE)
        sparse = SparseVector.of(terms.indices, terms.values) if terms else SparseVector.of([], [])
        return cls(str(id_), np.asarray(by_name.get(DENSE, ()), np.float32), sparse, payload or {})

    def checked(self) -> "IndexPoint":
        """Return the point. Raise VectorIndexError without a finite dense vector: Edge accepts NaN silently."""
        if self.dense.ndim != 1 or not self.dense.size or not np.isfinite(self.dense).all():
            raise VectorIndexError(f"The dense vector of point {self.id} must be one-dimensional and finite.")
        return self


class PointHashes(NamedTuple):
    """The hashes in a point's payload; an empty hash, or NO_DIGEST, when the payload has none."""

    id: str
    content_hash: str
    digest: int

    @classmethod
    def of(cls, id_: object, payload: Mapping[str, Any] | None) -> "PointHashes":
        """Read them from an engine's payload, whose values may have any type."""
        fields = payload or {}
        content, digest = fields.get("content_hash"), fields.get("payload_digest")
        return cls(
            str(id_),
            content if isinstance(content, str) else "",
            digest if type(digest) is int and 0 <= digest < 2**63 else NO_DIGEST,
        )


@dataclass(frozen=True)
class Candidate:
    """A point that a search found: cosine (dense) or BM25 (sparse) score, higher is better, and its payload."""

    id: str
    score: float
    payload: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class SearchFilter:
    """Which points may be found; None means any. ``vertical`` is one of the account's earned tags (``verticals``).

    A set of values finds points with any of them, and an empty set finds nothing. ``account_bucket`` finds points of
    exactly this bucket: a payload that lists several buckets matches none. ``account_ids`` restricts the accounts, and
    ``followers_tiers`` the sizes of their audiences. ``posted_after`` is inclusive, ``posted_before`` exclusive. Raises
    ValueError for a date without a time zone.
    """

    vertical: Wanted = None
    network: Wanted = None
    language: Wanted = None
    country: Wanted = None
    followers_tiers: frozenset[int] | None = None
    account_id: str | None = None
    account_ids: frozenset[str] | None = None
    account_bucket: int | None = None
    posted_after: datetime | None = None
    posted_before: datetime | None = None

    def __post_init__(self) -> None:
        for bound in (self.posted_after, self.posted_before):
            if bound is not None and bound.tzinfo is None:
                raise ValueError(f"posted_after and posted_before need a time zone: {bound.isoformat()}")

    def matches(self) -> dict[str, str | int]:
        """Return payload field → the value that it must equal or contain."""
        return {key: value for key, value in self._wanted().items() if isinstance(value, str | int)}

    def any_of(self) -> dict[str, list[Any]]:
        """Return payload field → the values of which it must equal or contain one."""
        return {key: sorted(value) for key, value in self._wanted().items() if isinstance(value, frozenset)}

    def _wanted(self) -> dict[str, str | int | frozenset[Any] | None]:
        return {
            "verticals": self.vertical,
            "network": self.network,
            "language": self.language,
            "country": self.country,
            "followers_tier": self.followers_tiers,
            "account_id": self.account_id if self.account_ids is None else self._accounts(self.account_ids),
            "account_bucket": self.account_bucket,
        }

    def _accounts(self, account_ids: frozenset[str]) -> frozenset[str]:
        return account_ids if self.account_id is None else account_ids & {self.account_id}
