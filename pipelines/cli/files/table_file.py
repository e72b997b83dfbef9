"""CSV and Parquet files of a mart."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from assets.transforms.marts.csv_files import as_csv
from resources.delta.table import TableSpec


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a path beside a file to write to, and move it to the file's place at the end; not after an error.

    A link stays, and its target is replaced.
    """
    target = file.resolve()
    with tempfile.TemporaryDirectory(prefix=".cippus-", dir=target.parent) as folder:
        path = Path(folder, file.name)
        yield path
        os.replace(path, target)  # noqa: PTH105 -- Path.replace would return a path


def csv(file: Path, rows: pl.LazyFrame, _spec: TableSpec) -> int:
    """Write the same CSV as `quicksight/exports`. Memory: the rows twice."""
    found = rows.collect()
    with replacing(file) as path:
        path.write_bytes(as_csv(found))
    return found.height


def parquet(file: Path, rows: pl.LazyFrame, _spec: TableSpec) -> int:
    """Write the values as they are in the mart."""
    found = rows.collect()
    with replacing(file) as path:
        found.write_parquet(path)
    return found.height
