"""Sample creators: invented accounts, posts, testimonials and labels, as dirty as real data."""

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

ROWS_PER_GROUP = 10_000  # rows of a table in memory, beside the rows of one creator
SCHEMAS: Mapping[str, pa.Schema] = {
    "accounts": ACCOUNTS.schema,
    "posts": POSTS.schema,
    "testimonials": TESTIMONIALS.schema,
    "labels": LABELS_SCHEMA,
}


@dataclass(frozen=True)
class CreatorsSummary:
    """The number of rows in each table, and of rows with each kind of planted dirt."""

    accounts: int
    posts: int
    testimonials: int
    labels: int
    dirt: Mapping[str, int]


def generate(folder: Path, accounts: int = 300, seed: int = 7) -> CreatorsSummary:
    """Write accounts.parquet, posts.parquet, testimonials.parquet and labels.parquet of the sample creators.

    The rows of account i depend on (seed, i) only. So the same arguments give the same tables, and a larger `accounts`
    keeps the rows of a smaller one. Memory does not grow with `accounts`. Each file replaces an earlier one in one
    step. Raise ValueError unless `accounts` is at least 1.
    """
    if accounts < 1:
        raise ValueError(f"accounts is {accounts}; it must be at least 1.")
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
    """Writes a Parquet file in groups of ROWS_PER_GROUP rows, under a temporary name until it is complete."""

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
