"""The Delta table of vectors: find known vectors, and read a few without reading the others."""

from dataclasses import dataclass, field

import polars as pl

from resources.delta.commit import DataFile
from resources.delta.table import BUCKET, LakeResource, TableSpec
from resources.errors import PermanentFailure

SLICE = "account_slice"
_FEW = 0.25
"""Up to this share of a bucket's vectors is searched file by file; beyond it, one scan of all files is faster."""
_FOUND = ["content_hash", "vector"]


class VectorLengthError(PermanentFailure):
    """A model returns vectors of another length than its stored vectors."""


@dataclass(frozen=True)
class VectorStore:
    """An append-only table of (account_bucket, account_slice, content_hash, model, vector)."""

    lake: LakeResource
    spec: TableSpec
    _lengths: dict[str, int] = field(default_factory=dict, init=False, compare=False, repr=False)

    def known(self, hashes: pl.DataFrame, model: str) -> pl.DataFrame:
        """Return (account_bucket, content_hash) of the ``hashes`` (a column content_hash) that have a vector anywhere.

        Streams the table's hashes once (a sixtieth of its bytes); memory grows with the number of matches.
        """
        stored = self.lake.scan(self.spec).filter(pl.col("model") == model).select(BUCKET, "content_hash")
        return stored.join(hashes.lazy(), on="content_hash", how="semi").collect(engine="streaming")

    def read(self, bucket: int, wanted: pl.DataFrame, model: str) -> pl.DataFrame:
        """Return (content_hash, vector) of the ``wanted`` (account_slice, content_hash) in the bucket, each hash once.

        A few are searched in the newest files first, so that new vectors cost their own size and not the bucket's; an
        older file reads only the row groups of their slices. A text that was embedded for an account of another slice
        is then searched in the hashes of all row groups.
        """
        snapshot = self.lake.snapshot(self.spec)
        files = self._files(bucket)
        if snapshot is None or wanted.height > _FEW * sum(file.rows for file in files):
            return _matching(self.lake.scan_cached(self.spec, bucket), wanted, model)
        folder = self.lake.folder(self.spec, snapshot)
        found = [pl.DataFrame(schema={name: self.spec.polars_schema[name] for name in _FOUND})]
        keys = wanted.select(SLICE, "content_hash").unique()
        for key in ([SLICE, "content_hash"], ["content_hash"]):
            for file in files:
                if keys.is_empty():
                    break
                for rows in folder.open(file).matching(keys.select(key).unique().sort(key), ["model", *_FOUND]):
                    found.append(rows.filter(pl.col("model") == model).select(_FOUND))
                keys = keys.join(pl.concat(found), on="content_hash", how="anti")
        return pl.concat(found).unique("content_hash")

    def dimension(self, model: str) -> int | None:
        """Return the length of a model's stored vectors; None without any. Reads the end of its newest file."""
        snapshot = self.lake.snapshot(self.spec)
        if snapshot is None:
            return None
        folder = self.lake.folder(self.spec, snapshot)
        for file in self._files():
            parquet = folder.open(file).parquet
            for number in range(parquet.num_row_groups):
                if parquet.read_row_group(number, ["model"])["model"].unique().to_pylist() == [model]:
                    group = parquet.metadata.row_group(number)
                    columns = [group.column(place) for place in range(group.num_columns)]
                    [vectors] = [column for column in columns if column.path_in_schema.startswith("vector.")]
                    return int(vectors.num_values // group.num_rows)
        return None

    def append(self, rows: pl.DataFrame) -> None:
        """Add rows in one commit. Raise VectorLengthError if a model's stored vectors have another length."""
        for (model,), of_model in rows.group_by("model"):
            for length in of_model["vector"].list.len().unique():
                self._require_length(str(model), length)
        self.lake.append(self.spec, rows)

    def _require_length(self, model: str, length: int) -> None:
        known = self._lengths.get(model) or self.dimension(model) or length
        self._lengths[model] = known
        if length != known:
            raise VectorLengthError(
                f"{model} gives vectors of {length} numbers, but its stored vectors have {known}. "
                "Another model has this name now: give it another name here too."
            )

    def _files(self, bucket: int | None = None) -> list[DataFile]:
        """Return the files of the table or of a bucket, newest first."""
        table = self.lake.open(self.spec)
        if table is None:
            return []
        files, of = pl.DataFrame(table.get_add_actions(flatten=True)), f"partition.{BUCKET}"
        chosen = files if bucket is None else files.filter(pl.col(of) == bucket)
        newest_first = chosen.sort("modification_time", "path", descending=[True, False])
        rows = newest_first.select("path", "size_bytes", "num_records", of).iter_rows()
        return [DataFile(path, size, count or 0, where) for path, size, count, where in rows]


def _matching(frame: pl.LazyFrame, wanted: pl.DataFrame, model: str) -> pl.DataFrame:
    is_wanted = (pl.col("model") == model) & pl.col("content_hash").is_in(wanted["content_hash"].unique().implode())
    return frame.filter(is_wanted).select(_FOUND).collect().unique("content_hash")
