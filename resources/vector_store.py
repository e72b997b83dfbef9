"""Vectors in their Delta table: which are known, and reading a few of them without reading the others.

Belongs here: how little of the table has to be read. Not here: which vectors are needed, or how they are made.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from resources.lake import BUCKET, LakeResource, TableSpec

_FEW = 0.25
"""Up to this part of a bucket's vectors is looked for file by file; for more, one scan of all files is quicker."""
_ROWS_BETWEEN = 256
"""Rows that are read in vain (0.4 MB) rather than asked for apart, which takes three requests."""


@dataclass(frozen=True)
class VectorStore:
    """A table of (account_bucket, content_hash, model, vector), to which rows are only ever added."""

    lake: LakeResource
    spec: TableSpec

    def known(self, hashes: pl.DataFrame, model: str) -> pl.DataFrame:
        """(account_bucket, content_hash) of those ``hashes`` (a column content_hash) that have a vector anywhere.

        Reads the table's hashes once (a fortieth of its bytes), in a stream; memory grows with what is found.
        """
        held = self.lake.scan(self.spec).filter(pl.col("model") == model).select(BUCKET, "content_hash")
        return held.join(hashes.lazy(), on="content_hash", how="semi").collect(engine="streaming")

    def read(self, bucket: int, hashes: pl.Series, model: str) -> pl.DataFrame:
        """(content_hash, vector) of those hashes that have one in the bucket, each once.

        A few are looked for in the newest files first, so that what was just embedded costs what it holds and not
        what the bucket holds; of an older file only the row groups around them are read. An account's vectors lie
        together, as they were written.
        """
        files = self._files(bucket)
        if hashes.len() > _FEW * sum(files.values()):
            return _matching(self.lake.scan(self.spec, bucket), hashes, model)
        found = [pl.DataFrame(schema={"content_hash": pl.String, "vector": pl.List(pl.Float32)})]
        wanted = hashes.unique()
        for path in files:
            if wanted.is_empty():
                break
            file = pl.scan_parquet(path, storage_options=self.lake.s3.polars_options)
            for first, count in self._runs(file, wanted, model):
                found.append(_matching(file.slice(first, count), wanted, model))
                wanted = wanted.filter(~wanted.is_in(found[-1]["content_hash"].implode()))
        return pl.concat(found)

    def append(self, rows: pl.DataFrame) -> None:
        """Add rows in one commit."""
        self.lake.append(self.spec, rows)

    def _runs(self, file: pl.LazyFrame, wanted: pl.Series, model: str) -> Iterator[tuple[int, int]]:
        """(first row, rows) of the stretches of a file that hold wanted hashes; reads its hashes only."""
        is_wanted = (pl.col("model") == model) & pl.col("content_hash").is_in(wanted.implode())
        rows = file.with_row_index("row").filter(is_wanted).select("row").collect()["row"].cast(pl.Int64)
        starts_anew = (rows.diff() > _ROWS_BETWEEN).fill_null(value=True).cast(pl.Int64)
        stretches = pl.DataFrame({"row": rows, "stretch": starts_anew.cum_sum()}).group_by(
            "stretch", maintain_order=True
        )
        for _, first, last in stretches.agg(
            pl.col("row").min().alias("first"), pl.col("row").max().alias("last")
        ).rows():
            yield first, last - first + 1

    def _files(self, bucket: int) -> dict[str, int]:
        """Address → rows of a bucket's files, newest first."""
        table = self.lake.open(self.spec)
        if table is None:
            return {}
        files = pl.DataFrame(table.get_add_actions(flatten=True)).filter(pl.col(f"partition.{BUCKET}") == bucket)
        newest_first = files.sort("modification_time", "path", descending=[True, False])
        folder = self.lake.s3.uri(self.spec.name)
        return {f"{folder}/{path}": rows for path, rows in newest_first.select("path", "num_records").iter_rows()}


def _matching(frame: pl.LazyFrame, hashes: pl.Series, model: str) -> pl.DataFrame:
    wanted = (pl.col("model") == model) & pl.col("content_hash").is_in(hashes.unique().implode())
    return frame.filter(wanted).select("content_hash", "vector").collect().unique("content_hash")
