"""Reads of the source database, and its clock."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa

from assets.transforms.source.schema import POSTS
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import ReadWindow

Source = psycopg.Connection[Any]


def server_now(source: Source) -> datetime:
    row = source.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def window(lower: datetime | None, upper: datetime) -> ReadWindow:
    return ReadWindow("posts", "post_id", tuple(POSTS.schema.names), "updated_at", lower, upper)


def read_all(postgres: PostgresResource, table: str = "posts") -> pa.Table:
    whole = ReadWindow(table, "post_id", ("post_id",), "updated_at", None, datetime(2030, 1, 1, tzinfo=UTC))
    with postgres.read(whole) as batches:
        return batches.read_all()
