"""The posts of a source database, landed window by window without a job."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import psycopg

from assets.raw.extraction import Extracted, Extraction
from assets.transforms.source.schema import POSTS
from resources.local_stack import EmbeddedStack
from resources.raw.store import Manifest, RawStoreResource
from resources.s3.client import S3Resource
from resources.sources.postgres import PostgresResource

HOUR = timedelta(hours=1)
PUT_POST = (
    "INSERT INTO posts (post_id, account_id, network, text, updated_at) VALUES (%s, 'a', 'x', %s, %s) "
    "ON CONFLICT (post_id) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at"
)


class AtMark(PostgresResource):
    """The database with a mark that the test chooses."""

    mark: str

    def safe_high_water_mark(self) -> datetime:
        return datetime.fromisoformat(self.mark)


@dataclass
class Landing:
    """The posts of the source database, landed in a bucket of the test's own."""

    stack: EmbeddedStack
    s3: S3Resource
    connection: "psycopg.Connection[Any]"
    read: int = 0
    rejected: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.postgres = PostgresResource(dsn=self.stack.postgres_dsn)
        self.raw_store = RawStoreResource(s3=self.s3)

    def put(self, key: str, text: str, moment: datetime | None = None) -> datetime:
        at = moment or self.now()
        self.connection.execute(PUT_POST, (key, text, at))
        return at

    def fill(self, rows: int, text: str = "repeat('x', 100)") -> None:
        """Rows of last year, in the order of another column than the key."""
        self.connection.execute(
            "INSERT INTO posts (post_id, account_id, network, text, updated_at) "
            f"SELECT md5(n::text), 'a' || n % 7, 'x', {text}, timestamptz '2024-01-01' + n * interval '1 minute' "
            f"FROM generate_series(1, {rows}) n".encode()
        )

    def now(self) -> datetime:
        row = self.connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment

    def extraction(self, source: Any = None, skew: timedelta = HOUR, **settings: Any) -> Extraction:
        def on_rows(rows: int) -> None:
            self.read += rows

        self.read = 0
        return Extraction(
            source or self.postgres,
            self.raw_store,
            POSTS,
            4,
            self.rejected.append,
            skew,
            **{"on_rows": on_rows, **settings},
        )

    def extract(self, source: Any = None, skew: timedelta = HOUR, **settings: Any) -> Extracted:
        return self.extraction(source, skew, **settings).changes()

    def windows(self, source: str = "postgres") -> list[Manifest]:
        return list(self.raw_store.manifests(source, "posts"))

    def rows(self) -> pl.DataFrame:
        """Every row of every window, with the window's number."""
        names = ("post_id", "text", "updated_at")
        found = [
            self.raw_store.read(window.files, list(names)).with_columns(window=pl.lit(window.number))
            for window in self.windows()
        ]
        none = pl.DataFrame(pl.from_arrow(POSTS.schema.empty_table())).select(names)
        return pl.concat([none.with_columns(window=pl.lit(0)), *found])

    def newest(self) -> dict[str, tuple[str, datetime]]:
        """The version of each key that a lake keeps: of the latest moment, and of equal ones the last to land."""
        kept = self.rows().sort("updated_at", "window").unique("post_id", keep="last")
        return {row["post_id"]: (row["text"], row["updated_at"]) for row in kept.iter_rows(named=True)}

    def in_source(self) -> dict[str, tuple[str, datetime]]:
        rows = self.connection.execute("SELECT post_id, text, updated_at FROM posts").fetchall()
        return {key: (text, moment) for key, text, moment in rows}
