"""One bucket of the readers' copy: a folder of arrays and payloads that are mapped into memory and never change."""

import mmap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from resources.vectors.values import IndexPoint, SearchFilter, SparseVector

_ID_BYTES = 36
_PAYLOADS, _FIELDS, _VECTORS = "payloads.bin", "fields.arrow", "dense.f32"
_TEXT_FIELDS = ("account_id", "network", "language", "country")
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(_TEXT_FIELDS, pl.String),
    "account_bucket": pl.Int64,
    "followers_tier": pl.Int64,
    "verticals": pl.List(pl.String),
    "posted_at": pl.Datetime("us", "UTC"),
}
Scores = NDArray[np.float32]


class Hits(NamedTuple):
    """Rows of a segment with their scores."""

    rows: NDArray[np.int64]
    scores: Scores


def names_of(ids: Iterable[str]) -> NDArray[np.bytes_]:
    """Return ids as a segment stores them."""
    return np.array([id_.encode() for id_ in ids], f"S{_ID_BYTES}")


def write_segment(folder: Path, points: Iterable[IndexPoint], dimension: int) -> int:
    """Write the points of a bucket into a new folder; return their number.

    Memory: 12 bytes for each term of each point, and the fields of filters; texts and vectors are written as they come.
    """
    folder.mkdir(parents=True)
    ids, fields, ends, has_vector = [], [], [0], []
    rows_of, terms, weights = [], [], []
    with (folder / _PAYLOADS).open("wb") as payloads, (folder / _VECTORS).open("wb") as dense:
        for row, point in enumerate(points):
            ids.append(point.id)
            fields.append(_fields(point.payload))
            ends.append(ends[-1] + payloads.write(orjson.dumps(point.payload)))
            if point.dense.size == dimension and np.isfinite(point.dense).all():
                has_vector.append(row)
                dense.write(point.dense.astype("<f4").tobytes())
            terms.append(point.sparse.indices)
            weights.append(point.sparse.values)
            rows_of.append(np.full(len(point.sparse), row, np.int32))
    _save(folder, "ids", names_of(ids))
    _save(folder, "ends", np.array(ends, np.int64))
    _save(folder, "dense_rows", np.array(has_vector, np.int32))
    _save_postings(folder, _joined(terms, np.uint32), _joined(rows_of, np.int32), _joined(weights, np.float32))
    pl.DataFrame(fields, schema=_SCHEMA, orient="row").write_ipc(folder / _FIELDS)
    return len(ids)


def _save_postings(
    folder: Path, terms: NDArray[np.uint32], rows: NDArray[np.int32], weights: NDArray[np.float32]
) -> None:
    order = np.argsort(terms, kind="stable")
    distinct, starts = np.unique(terms[order], return_index=True)
    _save(folder, "terms", distinct)
    _save(folder, "starts", np.append(starts, len(terms)).astype(np.int64))
    _save(folder, "rows", rows[order])
    _save(folder, "weights", weights[order])


class Segment:
    """The points of one bucket, mapped from its folder. Raises FileNotFoundError when the folder was replaced.

    ``names`` are the ids of its rows, as ``names_of`` returns them.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self.names, self._ends = _load(folder, "ids"), _load(folder, "ends")
        self._dense_rows = _load(folder, "dense_rows")
        self._terms, self._starts, self._rows, self._weights = (
            _load(folder, name) for name in ("terms", "starts", "rows", "weights")
        )
        self._dense: NDArray[np.float32] = np.zeros((0, dimension), np.float32)
        if len(self._dense_rows):
            shape = (len(self._dense_rows), dimension)
            self._dense = np.asarray(np.memmap(folder / _VECTORS, "<f4", "r", shape=shape))
        self._payloads: mmap.mmap | bytes = b""
        if self._ends[-1]:
            with (folder / _PAYLOADS).open("rb") as file:
                self._payloads = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._fields = pl.read_ipc(folder / _FIELDS)

    def __len__(self) -> int:
        return len(self.names)

    def dense(self, vector: NDArray[np.float32], where: SearchFilter) -> Hits:
        """Return every row that matches and has a vector, with its cosine."""
        # Not by BLAS, whose threads spin while they wait: 10 ms of CPU a search.
        scores = np.einsum("ij,j->i", self._dense, vector)
        mask = self._mask(where)
        if mask is None:
            return Hits(self._dense_rows.astype(np.int64), scores)
        kept = mask[self._dense_rows]
        return Hits(self._dense_rows[kept].astype(np.int64), scores[kept])

    def sparse(self, query: SparseVector, where: SearchFilter) -> Hits:
        """Return every row that matches and shares a term, with the dot product, which our weights make exact."""
        scores, shares = np.zeros(len(self), np.float32), np.zeros(len(self), bool)
        for place, term, weight in zip(
            np.searchsorted(self._terms, query.indices), query.indices, query.values, strict=True
        ):
            if place < len(self._terms) and self._terms[place] == term:
                posted = slice(self._starts[place], self._starts[place + 1])
                scores[self._rows[posted]] += self._weights[posted] * weight
                shares[self._rows[posted]] = True
        mask = self._mask(where)
        rows = np.flatnonzero(shares if mask is None else shares & mask)
        return Hits(rows, scores[rows])

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the ids of rows."""
        return [name.decode() for name in self.names[rows].tolist()]

    def payload(self, row: int) -> dict[str, Any]:
        """Return the payload of a row."""
        found: dict[str, Any] = orjson.loads(self._payloads[self._ends[row] : self._ends[row + 1]])
        return found

    def vector(self, row: int) -> NDArray[np.float32] | None:
        """Return the vector of a row; None if it has none."""
        place = int(np.searchsorted(self._dense_rows, row))
        has_one = place < len(self._dense_rows) and self._dense_rows[place] == row
        return np.array(self._dense[place]) if has_one else None

    def _mask(self, where: SearchFilter) -> NDArray[np.bool_] | None:
        """Return which rows match; None for all."""
        conditions = [pl.col(name) == value for name, value in where.matches().items() if name != "verticals"]
        conditions += [pl.col(name).is_in(values) for name, values in where.any_of().items() if name != "verticals"]
        if where.vertical is not None:
            wanted = [where.vertical] if isinstance(where.vertical, str) else sorted(where.vertical)
            conditions.append(pl.any_horizontal(pl.lit(value=False), *map(pl.col("verticals").list.contains, wanted)))
        if where.posted_after is not None:
            conditions.append(pl.col("posted_at") >= where.posted_after)
        if where.posted_before is not None:
            conditions.append(pl.col("posted_at") < where.posted_before)
        if not conditions:
            return None
        return self._fields.select(pl.all_horizontal(conditions).fill_null(value=False)).to_series().to_numpy()

    @cached_property
    def size_bytes(self) -> int:
        """The bytes that are mapped."""
        arrays = (self.names, self._ends, self._dense_rows, self._dense, self._terms, self._starts)
        held = sum(array.nbytes for array in (*arrays, self._rows, self._weights))
        return int(held + len(self._payloads) + self._fields.estimated_size())


def _fields(payload: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the fields that filters compare. A value of another type, which other writers may put there, is null."""
    verticals = payload.get("verticals")
    numbers = (payload.get(name) for name in ("account_bucket", "followers_tier"))
    return (
        *(value if isinstance(value := payload.get(name), str) else None for name in _TEXT_FIELDS),
        *(number if type(number) is int and -(2**63) <= number < 2**63 else None for number in numbers),
        [value for value in verticals if isinstance(value, str)] if isinstance(verticals, list) else None,
        _time(payload.get("posted_at")),
    )


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else None


def _joined(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.empty(0, dtype)


def _save(folder: Path, name: str, array: NDArray[Any]) -> None:
    np.save(folder / f"{name}.npy", array)


def _load(folder: Path, name: str) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    try:
        return np.asarray(open_memmap(path, mode="r"))
    except ValueError:  # an empty array cannot be mapped
        found: NDArray[Any] = np.load(path)
        return found
