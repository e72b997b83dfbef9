"""Leave out rows that an earlier window of a source table landed already.

A window reads rows from below its lower bound again, because a slow clock may have made them late.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

DIGEST_BYTES = 16
MOST_DIGESTS = 100_000
"""1.6 MB of digests. Further rows of an overlap are landed once more, which changes no result."""


@dataclass
class Overlap:
    """Recognises rows that an earlier window landed, by a digest of their whole content.

    ``known`` are digests of the rows that the newest window read below ``lower``. The next window reads rows at or
    after ``ends_with`` again, so their digests are put in ``remembered``. Memory: at most 100,000 digests of each kind.
    """

    along: str
    lower: datetime | None
    ends_with: datetime
    known: frozenset[bytes] = frozenset()
    remembered: set[bytes] = field(default_factory=set)
    repeated: int = 0

    def fresh(self, rows: pa.Table) -> pa.Table:
        """Return the rows that no earlier window landed with the same content."""
        times = rows[self.along]
        below = _mask(pc.less(times, pa.scalar(self.lower, times.type)))
        later = _mask(pc.greater_equal(times, pa.scalar(self.ends_with, times.type)))
        places = np.flatnonzero(below | later)
        if not len(places):
            return rows
        keep = np.ones(rows.num_rows, bool)
        for place, digest in zip(places, row_digests(rows.take(pa.array(places))), strict=True):
            keep[place] = not (below[place] and digest in self.known)
            if later[place] and len(self.remembered) < MOST_DIGESTS:
                self.remembered.add(digest)
        self.repeated += int((~keep).sum())
        return rows.filter(pa.array(keep))


def _mask(found: Any) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = pc.fill_null(found, False).to_numpy()
    return mask


def row_digests(rows: pa.Table) -> list[bytes]:
    """Return a 128-bit digest of each row's whole content, in order."""
    encoded = pl.DataFrame(pl.from_arrow(rows)).select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return [hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest() for text in encoded]


def pack(digests: Iterable[bytes]) -> bytes:
    """Join digests, sorted."""
    return b"".join(sorted(digests))


def unpack(packed: bytes) -> frozenset[bytes]:
    """Split what ``pack`` joined."""
    return frozenset(packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES))
