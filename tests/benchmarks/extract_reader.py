"""Read a table of posts from Postgres with one reader, in a process of its own: rows, seconds, peak memory."""

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.transforms.source.schema import POSTS
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import ReadWindow

_BUCKETS = 8


@dataclass(frozen=True)
class Measured:
    """The result of one process. ``seconds`` is wall time, ``cpu_seconds`` excludes the servers."""

    rows: int
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float


@dataclass(frozen=True)
class Job:
    """Source and target: a bucket (behind a governor for Cippus), or a folder for the lower bound."""

    dsn: str
    folder: str
    s3: dict[str, Any]


def cippus(job: Job) -> Callable[[], int]:
    """Extract the first window of raw/posts, as the asset does."""
    from assets.raw.extraction import Extraction
    from resources.raw.store import RawStoreResource
    from resources.s3.client import S3Resource
    from resources.s3.options import GovernorConfig

    governor = job.s3.pop("governor")
    s3 = S3Resource(**job.s3, governor=GovernorConfig(**governor) if governor else None)
    source = PostgresResource(dsn=job.dsn)
    extraction = Extraction(
        source, RawStoreResource(s3=s3), POSTS, _BUCKETS, lambda _rejects: None, timedelta(seconds=60)
    )
    list(s3.list_objects("raw/"))  # a run of the lineage has used S3 before, and so started the governor

    def run() -> int:
        return sum(file.rows for file in extraction.changes().files)

    return run


def adbc(job: Job) -> Callable[[], int]:
    """The lower bound: write batches to one local file with pyarrow's defaults."""
    source = PostgresResource(dsn=job.dsn)

    def run() -> int:
        columns = tuple(POSTS.schema.names)
        upper = source.safe_high_water_mark()
        rows = 0
        window = ReadWindow(POSTS.name, POSTS.key, columns, "updated_at", None, upper)
        with (
            source.read(window) as batches,
            pq.ParquetWriter(Path(job.folder) / "posts.parquet", batches.schema) as writer,
        ):
            for batch in batches:
                writer.write_table(pa.Table.from_batches([batch]))
                rows += batch.num_rows
        return rows

    return run


def connectorx(job: Job) -> Callable[[], int]:
    """Read all rows at once with ConnectorX and polars, into one file on S3."""
    import connectorx  # noqa: F401 -- not timed
    import polars as pl

    options = {
        "aws_endpoint_url": job.s3["endpoint_url"],
        "aws_access_key_id": job.s3["access_key_id"],
        "aws_secret_access_key": job.s3["secret_access_key"],
        "aws_region": job.s3["region"],
        "aws_allow_http": "true",
    }

    def run() -> int:
        found = pl.read_database_uri("SELECT * FROM posts", job.dsn, engine="connectorx")
        found.write_parquet(f"s3://{job.s3['bucket']}/posts.parquet", storage_options=options)
        return found.height

    return run


def dlt(job: Job) -> Callable[[], int]:
    """Load Parquet files on S3 with dlt and its Arrow backend."""
    import dlt as loader
    from dlt.common.configuration.specs import AwsCredentials
    from dlt.destinations import filesystem
    from dlt.sources.sql_database import sql_table

    to_s3 = AwsCredentials(
        aws_access_key_id=job.s3["access_key_id"],
        aws_secret_access_key=job.s3["secret_access_key"],
        endpoint_url=job.s3["endpoint_url"],
        region_name=job.s3["region"],
    )
    address = re.sub("^postgresql://", "postgresql+psycopg://", job.dsn)

    def run() -> int:
        to = filesystem(f"s3://{job.s3['bucket']}", credentials=to_s3)
        state = f"{job.folder}/state"
        pipeline = loader.pipeline("bench", destination=to, pipelines_dir=state, dataset_name="raw")
        table = sql_table(
            address,
            table="posts",
            backend="connectorx",
            backend_kwargs={"return_type": "arrow_stream", "batch_size": 100_000},
            chunk_size=100_000,
            reflection_level="full_with_precision",
        )
        pipeline.run(table, loader_file_format="parquet")
        return int(pipeline.last_trace.last_normalize_info.row_counts["posts"])

    return run


WAYS: dict[str, Callable[[Job], Callable[[], int]]] = {
    "cippus": cippus,
    "adbc": adbc,
    "connectorx": connectorx,
    "dlt": dlt,
}


def peak_rss_mb() -> float:
    """Return the peak memory of this process. getrusage would include the parent's before exec."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def main(way: str) -> None:
    """Run one reader once."""
    run = WAYS[way](Job(**json.load(sys.stdin)))
    started, cpu = time.perf_counter(), time.process_time()
    rows = run()
    measured = Measured(rows, time.perf_counter() - started, time.process_time() - cpu, peak_rss_mb())
    print(json.dumps(asdict(measured)))  # noqa: T201 -- the parent reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
