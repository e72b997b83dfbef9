"""Reads of the source database: streamed in batches, in the declared types, in ranges of the key."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from assets.transforms.source.schema import POSTS
from resources.local_stack import EmbeddedStack
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import KeyRange, ReadWindow
from tests.worlds.postgres_source import Source, window


def test_arrays_timestamps_and_nulls_keep_their_types(source: Source, postgres: PostgresResource) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    source.execute(
        "INSERT INTO posts (post_id, text, hashtags, likes, posted_at, updated_at) VALUES "
        "('a', 'naïve 🙂', ARRAY['x', NULL, 'it''s'], 9007199254740993, %s, %s), ('b', NULL, '{}', NULL, NULL, %s)",
        (moment, moment, moment),
    )
    with postgres.read(window(None, moment + timedelta(seconds=1))) as batches:
        rows = pa.Table.from_batches(list(batches), batches.schema).cast(POSTS.schema).sort_by("post_id").to_pylist()
    first, second = rows
    assert first["hashtags"] == ["x", None, "it's"]
    assert (first["text"], first["likes"]) == ("naïve 🙂", 9007199254740993)
    assert first["posted_at"] == first["updated_at"] == moment
    assert (second["text"], second["hashtags"], second["likes"], second["posted_at"]) == (None, [], None, None)


def test_a_window_has_its_lower_bound_and_not_its_upper(source: Source, postgres: PostgresResource) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for number in range(4):
        source.execute(
            "INSERT INTO posts (post_id, updated_at) VALUES (%s, %s)", (str(number), start + timedelta(days=number))
        )

    def ids(lower: datetime | None, upper: datetime) -> list[str]:
        with postgres.read(window(lower, upper)) as batches:
            return sorted(batches.read_all()["post_id"].to_pylist())

    assert ids(None, start + timedelta(days=2)) == ["0", "1"]
    assert ids(start + timedelta(days=1), start + timedelta(days=3)) == ["1", "2"]
    assert ids(start, start) == []
    assert postgres.count_ahead("posts", "updated_at", start + timedelta(days=1)) == 3


def test_rows_are_streamed_in_batches_of_bounded_size(stack: EmbeddedStack, source: Source) -> None:
    source.execute(
        "INSERT INTO posts (post_id, text, updated_at) "
        "SELECT n::text, repeat('x', 1000), '2024-01-01' FROM generate_series(1, 2000) n"
    )
    small = PostgresResource(dsn=stack.postgres_dsn, batch_bytes=100_000)
    with small.read(window(None, datetime(2024, 2, 1, tzinfo=UTC))) as batches:
        sizes = [(batch.num_rows, batch.nbytes) for batch in batches]
    assert sum(rows for rows, _ in sizes) == 2_000
    assert len(sizes) > 10
    assert max(size for _, size in sizes) < 400_000


def test_domains_and_enumerations_are_the_types_that_they_hold(source: Source, postgres: PostgresResource) -> None:
    source.execute(
        "CREATE DOMAIN moment AS timestamptz; CREATE DOMAIN word AS varchar(9); CREATE DOMAIN words AS word[]; "
        "CREATE TYPE kind AS ENUM ('a', 'b'); CREATE DOMAIN kinds AS kind; "
        "CREATE TABLE odd (post_id kinds, updated_at moment, tags words)"
    )
    try:
        assert postgres.columns("odd") == {
            "post_id": "enum",
            "updated_at": "timestamp with time zone",
            "tags": "word[]",
        }
    finally:
        source.execute("DROP TABLE odd; DROP DOMAIN kinds, words, word, moment; DROP TYPE kind")


@pytest.mark.parametrize("analyzed", [True, False])
def test_ranges_cover_every_key_once(source: Source, postgres: PostgresResource, analyzed: bool) -> None:
    source.execute(
        "INSERT INTO posts (post_id, updated_at) "
        "SELECT repeat(chr(32 + n % 900), 1 + n % 3) || md5(n::text), '2024-01-01' FROM generate_series(1, 5000) n"
    )
    source.execute("INSERT INTO posts (post_id, updated_at) VALUES ('it''s', '2024-01-01'), ('ünï', '2024-01-01')")
    if analyzed:
        source.execute("ANALYZE posts")
    ranges = postgres.key_ranges("posts", "post_id", 500)
    # Without statistics the planner guesses from the table's size, and wide columns make it guess low.
    assert (8 if analyzed else 2) <= len(ranges) <= 16
    upper = datetime(2030, 1, 1, tzinfo=UTC)
    sizes, found = [], []
    for keys in ranges:
        with postgres.read(ReadWindow("posts", "post_id", ("post_id",), "updated_at", None, upper, keys)) as batches:
            read = batches.read_all()["post_id"].to_pylist()
        sizes.append(len(read))
        found += read
    assert len(found) == len(set(found)) == 5_002
    assert max(sizes) < 3 * 5_002 / len(ranges)


def test_a_small_table_is_one_range(source: Source, postgres: PostgresResource) -> None:
    assert postgres.key_ranges("posts", "post_id", 1_000_000) == [KeyRange()]
