"""The sample creators: invented accounts, posts, testimonials and labels with the dirt that real data has."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from assets.transforms.source.schema import ACCOUNTS, LABELS_SCHEMA, POSTS, TESTIMONIALS
from pipelines.samples.rows import Row, creator_rows

ROWS_PER_GROUP = 10_000  # what is held in memory of a table, but for the rows of one creator
SCHEMAS: Mapping[str, pa.Schema] = {
    "accounts": ACCOUNTS.schema,
    "posts": POSTS.schema,
    "testimonials": TESTIMONIALS.schema,
    "labels": LABELS_SCHEMA,
}


@dataclass(frozen=True)
class CreatorsSummary:
    """How many rows were written to each table, and how many of them carry each kind of planted dirt."""

    accounts: int
    posts: int
    testimonials: int
    labels: int
    dirt: Mapping[str, int]


def generate(folder: Path, accounts: int = 300, seed: int = 7) -> CreatorsSummary:
    """Write accounts.parquet, posts.parquet, testimonials.parquet and labels.parquet of the sample creators.

    The rows of account i depend on (seed, i) alone: the same arguments give the same tables, and a larger `accounts`
    keeps the rows of the smaller. Memory does not grow with `accounts`. Files appear whole or not at all, and replace
    what was there. Raises ValueError unless `accounts` is at least 1.
    """
    if accounts < 1:
        raise ValueError(f"accounts must be at least 1, got {accounts}")
    folder.mkdir(parents=True, exist_ok=True)
    rows: Counter[str] = Counter()
    dirt: Counter[str] = Counter()
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(_TableWriter(folder / f"{name}.parquet", schema))
            for name, schema in SCHEMAS.items()
        }
        for index in range(accounts):
            creator = creator_rows(seed, index)
            for name, table_rows in creator.tables.items():
                writers[name].write(table_rows)
                rows[name] += len(table_rows)
            dirt.update(creator.dirt)
    return CreatorsSummary(**{name: rows[name] for name in SCHEMAS}, dirt=dict(sorted(dirt.items())))


class _TableWriter:
    """Rows to one Parquet file in groups of at most ROWS_PER_GROUP, under a temporary name until all are written."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._schema = schema
        self._rows: list[Row] = []
        self._writer = pq.ParquetWriter(self._partial, schema, compression="zstd")

    def write(self, rows: Iterable[Row]) -> None:
        self._rows.extend(rows)
        while len(self._rows) >= ROWS_PER_GROUP:
            self._flush(ROWS_PER_GROUP)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush(len(self._rows))
        self._writer.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink()

    def _flush(self, count: int) -> None:
        group, self._rows = self._rows[:count], self._rows[count:]
        if group:
            self._writer.write_table(pa.Table.from_pylist(group, schema=self._schema))
