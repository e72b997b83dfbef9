"""The table of the merge bench: narrow rows in 64 buckets, 2,000 in a file, and the windows that change it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from resources.delta.commit import Commit, DataFile, write_commit
from resources.delta.snapshot import in_threads
from resources.delta.table import BUCKET, LakeResource, TableSpec
from resources.delta.writer import Writer
from resources.s3.client import S3Resource

BUCKETS, ROWS_OF_FILE = 64, 2_000
CHANGED_ROWS, INSERTED_PART = 239, 0.1
_THEN = datetime(2024, 5, 1, tzinfo=UTC)
_SEED = 20_260_704


@dataclass(frozen=True)
class Place:
    """The address of the table, and its number of files."""

    bucket: str
    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    table: str
    files: int

    def lake(self) -> LakeResource:
        """Return the lake of the table. Neither writer goes through the governor."""
        return LakeResource(
            s3=S3Resource(
                bucket=self.bucket,
                endpoint_url=self.endpoint_url,
                access_key_id=self.access_key_id,
                secret_access_key=self.secret_access_key,
            )
        )

    @property
    def spec(self) -> TableSpec:
        """Return the table's spec. A file of 2,000 rows has about its target size."""
        columns = [
            (BUCKET, pa.int32()),
            ("post_id", pa.string()),
            ("account_id", pa.string()),
            ("likes", pa.int64()),
            ("updated_at", pa.timestamp("us", tz="UTC")),
        ]
        return TableSpec(
            self.table, pa.schema(columns), ("post_id",), feeds=True, moves=True, target_bytes=_TARGET_BYTES
        )

    def to_json(self) -> str:
        """Return the place for a child process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Place":
        """Return the place that ``to_json`` has written."""
        return cls(**json.loads(text))


_TARGET_BYTES = 16 << 10


def rows_of_file(number: int) -> tuple[int, pl.DataFrame]:
    """Return the bucket of a file, and its rows.

    File ``number`` is file ``number // 64`` of its bucket. Every 64th post belongs to the same bucket. So all buckets
    cover the same range of keys, and each file of a bucket covers another part of it.
    """
    bucket = number % BUCKETS
    posts = np.arange(ROWS_OF_FILE, dtype=np.int64) + number // BUCKETS * ROWS_OF_FILE
    return bucket, _rows(posts * BUCKETS + bucket, "", np.random.default_rng((_SEED, number)), _THEN)


def _rows(
    posts: "np.ndarray[tuple[int], np.dtype[np.int64]]", suffix: str, random: np.random.Generator, at: datetime
) -> pl.DataFrame:
    return pl.DataFrame({"post": posts}).select(
        (pl.col("post") % BUCKETS).cast(pl.Int32).alias(BUCKET),
        pl.format("p{}{}", pl.col("post").cast(pl.String).str.zfill(10), pl.lit(suffix)).alias("post_id"),
        pl.format("creator-{}", pl.col("post") % 100_003).alias("account_id"),
        pl.Series("likes", random.integers(0, 1_000, len(posts))),
        pl.lit(at).dt.cast_time_unit("us").alias("updated_at"),
    )


def changed_rows(files: int, round_number: int) -> pl.DataFrame:
    """Return the 239 rows of a window: nine of ten change an existing post, the others are new."""
    random = np.random.default_rng((_SEED, files, round_number))
    posts = random.choice(files * ROWS_OF_FILE, CHANGED_ROWS, replace=False).astype(np.int64)
    fresh = round(CHANGED_ROWS * INSERTED_PART)
    at = _THEN + timedelta(hours=round_number + 1)
    return pl.concat([_rows(posts[fresh:], "", random, at), _rows(posts[:fresh], f"-{round_number}", random, at)])


def write_files(place: Place, numbers: Sequence[int]) -> list[DataFile]:
    """Write some files of the table without a commit."""
    lake = place.lake()
    snapshot = lake.snapshot(place.spec)
    if snapshot is None:
        message = f"{place.table} does not exist; create it first."
        raise RuntimeError(message)
    folder = lake.folder(place.spec, snapshot)

    def write(number: int) -> list[DataFile]:
        bucket, rows = rows_of_file(number)
        writer = Writer.of(folder, bucket)
        writer.add(rows)
        return writer.finish()

    return [file for files in in_threads(write, numbers) for file in files]


def commit_files(place: Place, files: Sequence[DataFile]) -> None:
    """Commit the files as the first version of the table."""
    lake = place.lake()
    write_commit(lake.s3, place.table, 0, Commit("WRITE", adds=files))
    lake.checkpoint(place.spec)
