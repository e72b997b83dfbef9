"""The bench of extraction, small: every way that is installed reads every row, and nothing of it is left."""

from importlib.util import find_spec

import psycopg
import pytest
from rich.console import Console

from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource
from tests.benchmarks import extract
from tests.benchmarks.extract import Amounts, ReaderError, Readers, run
from tests.benchmarks.extract_posts import database_of_posts, posts


def test_it_measures_every_way_and_cleans_up(stack: EmbeddedStack, governed: S3Resource) -> None:
    before = {bucket["Name"] for bucket in governed.client.list_buckets()["Buckets"]}
    result = run(stack, governed, Amounts(rows=2_000, rounds=1), Console(quiet=True))
    installed = [way for way in ("cippus", "adbc", *extract.PEERS) if way in ("cippus", "adbc") or find_spec(way)]
    for way in installed:
        assert result.figures[f"{way}_rows_per_second"] > 0
        assert result.figures[f"{way}_peak_rss_mb"] > 50
    assert set(result.targets) == {
        *("peak_rss_mb", "peak_rss_growth", "share_of_adbc"),
        *(f"share_of_{peer}" for peer in extract.PEERS),
    }
    for peer in set(extract.PEERS) - set(installed):
        assert not result.targets[f"share_of_{peer}"].met
    assert {bucket["Name"] for bucket in governed.client.list_buckets()["Buckets"]} == before
    with psycopg.connect(stack.postgres_dsn) as connection:
        left = connection.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'bench%'").fetchone()
    assert left == (0,)


def test_a_way_that_reads_other_rows_is_an_error(stack: EmbeddedStack, s3: S3Resource) -> None:
    with database_of_posts(stack, "bench_wrong", 100) as dsn:
        with pytest.raises(ReaderError, match=r"Reading by adbc gave 100 rows, expected 101\."):
            Readers(stack, s3).run("adbc", dsn, 101)
        with pytest.raises(ReaderError, match="Reading by nothing failed: KeyError: 'nothing'"):
            Readers(stack, s3).run("nothing", dsn, 100)


def test_posts_are_the_same_every_time() -> None:
    [first], [second] = list(posts(500)), list(posts(500))
    assert first.equals(second)
    assert first["post_id"].to_pylist()[:2] == ["post-0", "post-1"]
    assert len(set(first["text"].to_pylist())) > 490
