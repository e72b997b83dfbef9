"""Rows that two windows read: the rows below a window's lower bound, which a slow clock may have made late."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

DIGEST_BYTES = 16
MOST_DIGESTS = 100_000
"""Beyond this many rows in one overlap (1.6 MB of digests) the others are landed once more, which changes no result."""


@dataclass
class Overlap:
    """Tells rows that an earlier window landed from new ones, by a digest of their whole content.

    ``known`` are digests of the rows that the newest window read below ``lower``. Rows at or after ``ends_with`` will
    be read again by the next window, and are remembered for it. Memory: digests, at most 100,000 of each kind.
    """

    along: str
    lower: datetime | None
    ends_with: datetime
    known: frozenset[bytes] = frozenset()
    remembered: set[bytes] = field(default_factory=set)
    repeated: int = 0

    def fresh(self, rows: pa.Table) -> pa.Table:
        """The rows without those that an earlier window landed as they are."""
        moments = rows[self.along]
        again = pc.less(moments, pa.scalar(self.lower, moments.type)) if self.lower else None
        concerned = pc.greater_equal(moments, pa.scalar(self.ends_with, moments.type))
        concerned = concerned if again is None else pc.or_kleene(concerned, again)
        places = pc.indices_nonzero(pc.fill_null(concerned, False))
        if not len(places):
            return rows
        some = rows.take(places)
        digests = row_digests(some)
        later = pc.greater_equal(some[self.along], pa.scalar(self.ends_with, moments.type)).to_pylist()
        self._remember(digest for digest, is_later in zip(digests, later, strict=True) if is_later)
        below = pc.less(some[self.along], pa.scalar(self.lower, moments.type)).to_pylist() if self.lower else []
        held = [
            place
            for place, digest, is_below in zip(places.to_pylist(), digests, below, strict=False)
            if is_below and digest in self.known
        ]
        if not held:
            return rows
        self.repeated += len(held)
        keep = np.ones(rows.num_rows, bool)
        keep[held] = False
        return rows.filter(pa.array(keep))

    def _remember(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            if len(self.remembered) < MOST_DIGESTS:
                self.remembered.add(digest)


def row_digests(rows: pa.Table) -> list[bytes]:
    """A 128-bit digest of each row's whole content, in order."""
    encoded = pl.DataFrame(pl.from_arrow(rows)).select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return [hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest() for text in encoded]


def pack(digests: Iterable[bytes]) -> bytes:
    """Digests one after the other, sorted."""
    return b"".join(sorted(digests))


def unpack(packed: bytes) -> frozenset[bytes]:
    """The reverse of ``pack``."""
    return frozenset(packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES))
