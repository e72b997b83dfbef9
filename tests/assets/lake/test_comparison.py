"""The lake is compared with raw/*, and what another writer changed is mended, in one commit with its change feed."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from assets.lake import LAKE_POSTS
from assets.lake.comparison import Differences, LakeComparison
from assets.transforms.source.row_comparison import PROBLEMS
from assets.transforms.source.schema import POSTS, SOURCE_TABLES, SourceTable
from pipelines.checks.lake import reconciles_with_raw
from resources.local_stack import EmbeddedStack
from resources.raw.store import RawStoreResource
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import FIRST, LAST
from tests.worlds.loaded import loaded_world

SEEDS = 50
Damage = Callable[[DeltaTable, pl.DataFrame], None]


def _where(rows: pl.DataFrame) -> str:
    return f"post_id IN ({', '.join(repr(key) for key in rows['post_id'])})"


def _append(table: DeltaTable, rows: pl.DataFrame) -> None:
    write_deltalake(table, rows.select(list(LAKE_POSTS.polars_schema)), mode="append")


def _lost(table: DeltaTable, rows: pl.DataFrame) -> None:
    table.delete(_where(rows))


def _stale(table: DeltaTable, rows: pl.DataFrame) -> None:
    table.update(updates={"updated_at": "updated_at - INTERVAL '1 day'"}, predicate=_where(rows))


def _rounded(table: DeltaTable, rows: pl.DataFrame) -> None:
    """As Trino's OPTIMIZE does."""
    table.delete(_where(rows))
    _append(table, rows.with_columns(pl.col("updated_at").dt.truncate("1ms")))


def _altered(table: DeltaTable, rows: pl.DataFrame) -> None:
    table.update(updates={"text": "'never posted'"}, predicate=_where(rows))


def _foreign(table: DeltaTable, rows: pl.DataFrame) -> None:
    _append(table, rows.with_columns(pl.col("post_id") + "/foreign"))


def _doubled(table: DeltaTable, rows: pl.DataFrame) -> None:
    _append(table, rows)


def _misplaced(table: DeltaTable, rows: pl.DataFrame) -> None:
    table.delete(_where(rows))
    _append(table, rows.with_columns(account_bucket=(1 - pl.col("account_bucket")).cast(pl.Int32)))


DAMAGES: dict[str, Damage] = dict(
    zip(PROBLEMS, (_lost, _stale, _rounded, _altered, _foreign, _doubled, _misplaced), strict=True)
)


@pytest.fixture(scope="module")
def world(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A loaded world in which a post has moved to an account of another bucket, and times have microseconds."""
    made = loaded_world(stack).clone("compared_lake", tmp_path_factory.mktemp("compared") / "index")
    precise = "date_trunc('second', now()) + interval '123456 microseconds'"
    made.execute(f"UPDATE posts SET updated_at = {precise}")
    made.execute(
        f"UPDATE posts SET account_id = %s, updated_at = {precise} "
        "WHERE post_id = (SELECT min(post_id) FROM posts WHERE account_id = %s)",
        *(LAST, FIRST),
    )
    made.run_well("raw", "lake")
    return made


def comparison(world: World, table: SourceTable = POSTS) -> LakeComparison:
    return LakeComparison(table, RawStoreResource(s3=world.s3), world.lake)


def test_nothing_differs_after_a_run(world: World) -> None:
    for table in SOURCE_TABLES.values():
        found = comparison(world, table).differences()
        assert found.rows > 0
        assert found.problems == {}
        assert comparison(world, table).repair().changes.written == 0
    moved = world.table(LAKE_POSTS).filter(account_id=LAST)["post_id"]
    assert any(post.startswith(FIRST) for post in moved), "a key was in two buckets"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_difference_is_found_explained_and_mended(world: World, seed: int) -> None:
    problem = PROBLEMS[seed % len(PROBLEMS)]
    before = world.table(LAKE_POSTS)
    rows = before.sample(1 + seed // len(PROBLEMS) % 3, seed=seed)
    table = world.lake.open(LAKE_POSTS)
    assert table is not None
    DAMAGES[problem](DeltaTable(world.s3.uri(LAKE_POSTS.name), storage_options=world.s3.storage_options), rows)

    [check] = [found for found in reconciles_with_raw if found.asset == "lake/posts"]
    count, metadata = check.call(check.promise, {"raw_store": RawStoreResource(s3=world.s3), "lake": world.lake})
    # A row in the wrong bucket is lost in its own.
    assert metadata.get(problem) == rows.height, metadata
    assert count == rows.height * (2 if problem == "misplaced" else 1)
    assert str(rows["post_id"].min()) in metadata["what"] or rows.height > 1
    assert metadata["mend"] == "cippus reconcile lake"

    damaged = DeltaTable(world.s3.uri(LAKE_POSTS.name), storage_options=world.s3.storage_options).version()
    repaired = comparison(world).repair()
    assert repaired.found == count
    assert_frame_equal(world.table(LAKE_POSTS), before)
    touched = rows["account_bucket"].n_unique() if problem != "misplaced" else None
    mended = DeltaTable(world.s3.uri(LAKE_POSTS.name), storage_options=world.s3.storage_options).version()
    assert mended - damaged <= (touched or 2), "one commit a bucket"


def test_the_repair_is_in_the_change_feed(world: World) -> None:
    rows = world.table(LAKE_POSTS).head(1)
    _altered(DeltaTable(world.s3.uri(LAKE_POSTS.name), storage_options=world.s3.storage_options), rows)
    comparison(world).repair()
    table = DeltaTable(world.s3.uri(LAKE_POSTS.name), storage_options=world.s3.storage_options)
    feed = pl.DataFrame(table.load_cdf(starting_version=table.version()).read_all())
    assert sorted(feed["_change_type"]) == ["update_postimage", "update_preimage"]
    assert feed.filter(pl.col("_change_type") == "update_postimage")["text"].to_list() == rows["text"].to_list()


def test_the_command_mends_the_lake(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pipelines.cli import index as indexing
    from pipelines.cli.main import app
    from resources import wiring

    made = SimpleNamespace(raw_store=RawStoreResource(s3=world.s3), lake=world.lake)
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path))
    monkeypatch.setattr(indexing, "require_stack", lambda: None)
    monkeypatch.setattr(wiring, "resources", lambda: made)
    _lost(
        DeltaTable(world.s3.uri(LAKE_POSTS.name), storage_options=world.s3.storage_options),
        world.table(LAKE_POSTS).head(1),
    )
    found = CliRunner().invoke(app, ["reconcile", "lake", "--json"])
    assert found.exit_code == 0, found.output
    [posts] = [table for table in json.loads(found.stdout)["tables"] if table["table"] == "lake/posts"]
    assert (posts["lost"], posts["written"]) == (1, 1)
    told = CliRunner().invoke(app, ["reconcile", "lake"])
    assert "nothing differs from raw/*" in told.stdout


def test_what_was_found_is_told_in_sentences() -> None:
    found = Differences("lake/posts", problems={"lost": 2}, examples={"lost": ["a", "b"]})  # type: ignore[arg-type]
    assert found.said() == (
        "2 lost (a, b): the newest version of these rows was extracted and is not in the lake: another writer "
        "deleted them."
    )
