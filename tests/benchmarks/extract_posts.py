"""Create millions of posts with realistic texts, in databases of their own on the embedded Postgres."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi
from psycopg import sql

from assets.transforms.source.schema import POSTS, TIMESTAMP
from pipelines.samples.source_tables import CREATE_TABLES
from pipelines.samples.texts import compose, decorate, load_phrasebook
from resources.local_stack import EmbeddedStack

_SEED, _BATCH, _TEXTS, _ACCOUNTS = 20_261_125, 100_000, 20_000, 20_000
_END = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
_YEAR = 365 * 86_400_000_000
_MEDIA = ("image", "video", "carousel", None)


@contextmanager
def database_of_posts(stack: EmbeddedStack, name: str, rows: int) -> Iterator[str]:
    """Yield the DSN of an analyzed database with this many posts; drop it afterwards."""
    base = stack.postgres_dsn.rpartition("/")[0]
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        admin.execute(drop)
        try:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            _fill(f"{base}/{name}", rows)
            yield f"{base}/{name}"
        finally:
            admin.execute(drop)


def _fill(dsn: str, rows: int) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(CREATE_TABLES)
    batches = pa.RecordBatchReader.from_batches(POSTS.schema, posts(rows))
    with dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("posts", batches, mode="append")
        connection.commit()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE, FREEZE) posts")
        connection.execute("CHECKPOINT")


def posts(rows: int) -> Iterator[pa.RecordBatch]:
    """Create posts with two of 20,000 texts each, hashtags, counts, and accounts of unequal activity."""
    pool = _texts()
    tags = pa.array([tag for found in load_phrasebook().verticals.values() for tag in found.tags])
    for start in range(0, rows, _BATCH):
        random_numbers = np.random.default_rng((_SEED, start))
        count = min(_BATCH, rows - start)

        def picked(values: pa.Array, drawn: np.random.Generator = random_numbers, size: int = count) -> pa.Array:
            return values.take(pa.array(drawn.integers(0, len(values), size)))

        accounts = (random_numbers.power(0.5, count) * _ACCOUNTS).astype(np.int64)
        updated = pa.array(_END - random_numbers.integers(0, _YEAR, count)).cast(TIMESTAMP)
        offsets = np.concatenate([[0], np.cumsum(random_numbers.integers(0, 5, count))]).astype(np.int32)
        hashtags = tags.take(pa.array(random_numbers.integers(0, len(tags), offsets[-1])))
        numbers = {name: pa.array(random_numbers.integers(0, 100_000, count)) for name in ("likes", "views")}
        few = {name: pa.array(random_numbers.integers(0, 500, count)) for name in ("comments", "shares")}
        ids = pa.array(np.arange(start, start + count)).cast(pa.string())
        made = {
            "post_id": pc.binary_join_element_wise("post", ids, "-"),
            "account_id": pc.binary_join_element_wise("account", pa.array(accounts).cast(pa.string()), "-"),
            "network": picked(pa.array(["youtube", "instagram", "tiktok", "x"])),
            "posted_at": updated,
            "text": pc.binary_join_element_wise(picked(pool), picked(pool), " "),
            "hashtags": pa.ListArray.from_arrays(pa.array(offsets), hashtags),
            "media_url": pc.binary_join_element_wise("https://media.example.com/", ids, ".jpg", ""),
            "media_type": picked(pa.array(_MEDIA)),
            **numbers,
            **few,
            "updated_at": updated,
            "deleted_at": pa.nulls(count, TIMESTAMP),
        }
        yield pa.RecordBatch.from_arrays([made[name] for name in POSTS.schema.names], schema=POSTS.schema)


def _texts() -> pa.Array:
    rng = random.Random(_SEED)  # noqa: S311 -- reproducible texts, not secrets
    book = load_phrasebook()
    found = []
    for _ in range(_TEXTS):
        vertical = rng.choice(list(book.verticals))
        subjects, tags = book.verticals[vertical].subjects, book.verticals[vertical].tags
        found.append(decorate(rng, compose(rng, vertical, "en", subjects), tags[:2]))
    return pa.array(found)
