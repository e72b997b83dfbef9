"""A process that merges windows into a lake table, and kills itself before its n-th commit: `lake_writer.py JOB`."""

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa

from resources.delta import change
from resources.delta import commit as lake_log
from resources.delta.table import LakeResource, TableSpec
from resources.s3.client import S3Resource

SPEC = TableSpec(
    "lake/raced",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("key", pa.string()),
            ("text", pa.string()),
            ("updated_at", pa.timestamp("us", tz="UTC")),
        ]
    ),
    ("key",),
    feeds=True,
    moves=True,
)


@dataclass(frozen=True)
class Job:
    """Windows of a writer, numbered from 1, in one bucket. ``killed_at``: number of a commit, 0 for none."""

    s3: dict[str, Any]
    writer: int
    windows: int
    bucket: int
    killed_at: int = 0

    def rows(self, window: int) -> pl.DataFrame:
        """Return a window: a row that all writers change, a row that only this writer changes, and a new row."""
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=window, seconds=self.writer)
        keys = ["shared", f"own-{self.writer}", f"new-{self.writer}-{window}"]
        text = f"{self.writer}/{window}"
        # All writers put the shared row into the same bucket.
        rows = [(0 if key == "shared" else self.bucket, key, text, at) for key in keys]
        return pl.DataFrame(rows, schema=SPEC.polars_schema, orient="row")

    def merge(self, lake: LakeResource) -> None:
        """Merge all windows, each with its application."""
        for window in range(1, self.windows + 1):
            rows = self.rows(window)
            lake.merge_newer(SPEC, rows, sorted(set(rows["account_bucket"])), {f"writer/{self.writer}": window})


def main(job: Job) -> None:
    """Run the job. The process exits with 0, or is killed."""
    commit, commits = lake_log.write_commit, 0

    def counted(*arguments: Any, **named: Any) -> int:
        nonlocal commits
        commits += 1
        if commits == job.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return commit(*arguments, **named)

    vars(change)["write_commit"] = counted
    job.merge(LakeResource(s3=S3Resource(**job.s3)))


def arguments(job: Job) -> list[str]:
    """Return the command line of a job."""
    return [sys.executable, __file__, json.dumps(asdict(job))]


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
