"""What an index is given and what it answers: points, sparse vectors, filters, candidates; and its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resources.errors import CippusError, InputError, TransientFailure

DENSE, SPARSE = "dense", "bm25"
NO_DIGEST = -1


class VectorIndexError(CippusError):
    """The index refused or failed. Those below say how."""


class IndexUnavailableError(VectorIndexError, TransientFailure):
    """The server does not answer or refuses us, or another process holds the embedded index."""


class QdrantAddressError(VectorIndexError, InputError):
    """A setting is no address of a Qdrant server; the message is one sentence, without a user's name or password."""


class CollectionMissingError(VectorIndexError, InputError):
    """The collection was never made, or is lost: ``ensure_collection`` makes it."""


class CollectionMismatchError(VectorIndexError):
    """The collection holds another model's vectors."""


class AliasRaceError(VectorIndexError, TransientFailure):
    """Another process promoted a generation at the same time, and it is the one that is served."""


class NoPreviousError(VectorIndexError, InputError):
    """There is no generation to roll back to."""


def id_in_engine(id_: str) -> str | int:
    """Ours are UUIDs; what others wrote may have a number, which an engine takes for no other id."""
    return int(id_) if id_.isascii() and id_.isdigit() else id_


@dataclass(frozen=True, eq=False)
class SparseVector:
    """Term ids (uint32) and their weights (float32); may be empty. What is read need not be fit to be written."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def of(cls, indices: Sequence[int], values: Sequence[float]) -> "SparseVector":
        """From an engine's lists."""
        return cls(np.asarray(indices, np.uint32), np.asarray(values, np.float32))

    def checked(self) -> "SparseVector":
        """Itself, to be written or asked with. Raises VectorIndexError unless ids ascend, each with a finite weight."""
        if self.indices.shape != self.values.shape or self.indices.ndim != 1:
            message = f"Sparse indices {self.indices.shape} and values {self.values.shape} differ in shape."
            raise VectorIndexError(message)
        if (self.indices[1:] <= self.indices[:-1]).any() or not np.isfinite(self.values).all():
            message = "Sparse indices must be strictly ascending, and their values finite."
            raise VectorIndexError(message)
        return self


@dataclass(frozen=True, eq=False)
class IndexPoint:
    """One chunk in the index: ``id`` a UUID, ``dense`` float32 (dimension,), ``payload`` JSON values.

    Engines keep ``dense`` at unit length. Others may write to a collection, too: what is read may have no dense vector
    (an empty array) or one that is not finite, so that it can be found and repaired.
    """

    id: str
    dense: NDArray[np.float32]
    sparse: SparseVector
    payload: Mapping[str, Any]

    @classmethod
    def of(cls, id_: object, vectors: Mapping[str, Any] | None, payload: Mapping[str, Any] | None) -> "IndexPoint":
        """From an engine's id, vectors by name, and payload."""
        held = vectors or {}
        terms = held.get(SPARSE)
        sparse = SparseVector.of(terms.indices, terms.values) if terms else SparseVector.of([], [])
        return cls(str(id_), np.asarray(held.get(DENSE, ()), np.float32), sparse, payload or {})

    def checked(self) -> "IndexPoint":
        """Itself, to be written. Raises VectorIndexError without a finite dense vector: Edge takes NaN in silence."""
        if self.dense.ndim != 1 or not self.dense.size or not np.isfinite(self.dense).all():
            message = f"The dense vector of point {self.id} must be one-dimensional and finite."
            raise VectorIndexError(message)
        return self


class PointHashes(NamedTuple):
    """What a point says it holds: an empty hash, or NO_DIGEST, where its payload has none."""

    id: str
    content_hash: str
    digest: int

    @classmethod
    def of(cls, id_: object, payload: Mapping[str, Any] | None) -> "PointHashes":
        """From an engine's id and payload, in which others may have put values of any type."""
        held = payload or {}
        content, digest = held.get("content_hash"), held.get("payload_digest")
        return cls(
            str(id_),
            content if isinstance(content, str) else "",
            digest if type(digest) is int and 0 <= digest < 2**63 else NO_DIGEST,
        )


@dataclass(frozen=True)
class Candidate:
    """A point that a search found: cosine (dense) or BM25 (sparse) score, higher is better, and its whole payload."""

    id: str
    score: float
    payload: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class SearchFilter:
    """Which points may be found; None means any. ``vertical`` is one of the account's earned tags (``verticals``).

    ``account_bucket`` finds points that are of this bucket alone: one whose payload names several is of none of them.

    ``account_ids`` are the only accounts that may be found; an empty set finds nothing. ``posted_after`` is inclusive,
    ``posted_before`` exclusive; a date without a time zone is a ValueError.
    """

    vertical: str | None = None
    network: str | None = None
    language: str | None = None
    country: str | None = None
    account_id: str | None = None
    account_ids: frozenset[str] | None = None
    account_bucket: int | None = None
    posted_after: datetime | None = None
    posted_before: datetime | None = None

    def __post_init__(self) -> None:
        for moment in (self.posted_after, self.posted_before):
            if moment is not None and moment.tzinfo is None:
                message = f"posted_after and posted_before need a time zone: {moment.isoformat()}"
                raise ValueError(message)

    def matches(self) -> dict[str, str | int]:
        """Payload field → the value that it must hold, or have among others."""
        wanted = {
            "verticals": self.vertical,
            "network": self.network,
            "language": self.language,
            "country": self.country,
            "account_id": self.account_id,
            "account_bucket": self.account_bucket,
        }
        return {key: value for key, value in wanted.items() if value is not None}
