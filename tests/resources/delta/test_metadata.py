"""The words of a table are in its metadata: one commit when they differ, which is no change of the table."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from resources.delta.purge import delete_history
from resources.delta.spec import MEASURED
from resources.delta.table import BUCKET, Changes, Column, LakeResource, TableSpec

MOMENT = pa.timestamp("us", tz="UTC")
SPEC = TableSpec.of(
    "lake/said",
    {
        BUCKET: Column(pa.int32(), "Bucket."),
        "key": Column(pa.string(), 'The "key".'),
        "day": Column(pa.date32(), "Its day."),
        "posted_at": Column(MOMENT, "When it was posted."),
        "country": Column(pa.string(), "Country."),
        "text": Column(pa.string(), "Text."),
        "updated_at": Column(MOMENT, "Last change."),
    },
    ("key",),
    filtered=("country",),
    text_columns=("text",),
    feeds=True,
)
THEN = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def rows(*keys: str) -> pl.DataFrame:
    found = [(0, key, date(2024, 1, 2), THEN, f"D{key}", "secret", THEN) for key in keys]
    return pl.DataFrame(found, schema=SPEC.polars_schema, orient="row")


def opened(lake: LakeResource) -> DeltaTable:
    table = lake.open(SPEC)
    assert table is not None
    return table


def comments(table: DeltaTable) -> dict[str, Any]:
    return {field.name: field.metadata.get("comment") for field in table.schema().fields}


def statistics(table: DeltaTable) -> list[dict[str, Any]]:
    flat = pl.DataFrame(table.get_add_actions(flatten=True)).sort("modification_time")
    return flat.select(pl.selectors.starts_with("min.", "max.")).to_dicts()


def test_a_column_that_people_filter_by_has_statistics(lake: LakeResource) -> None:
    assert SPEC.measured == ["key", "day", "posted_at", "country", "updated_at"]
    lake.merge_newer(SPEC, rows("a", "b"), [0], {"app": 1})
    [found] = statistics(opened(lake))
    assert (found["min.country"], found["max.country"]) == ("Da", "Db")
    assert found["min.day"] == found["max.day"] == date(2024, 1, 2)
    assert found["min.posted_at"] <= THEN <= found["max.posted_at"]
    assert "min.text" not in found


def test_words_are_committed_once_and_are_no_change(lake: LakeResource) -> None:
    assert not lake.describe(SPEC, "What was said."), "the table does not exist"
    lake.merge_newer(SPEC, rows("a"), [0], {"app": 1})
    before, version = lake.contents(SPEC), opened(lake).version()
    files = opened(lake).file_uris()
    assert lake.describe(SPEC, "What was said.")
    assert not lake.describe(SPEC, "What was said.")
    assert opened(lake).version() == version + 1
    assert opened(lake).metadata().description == "What was said."
    assert comments(opened(lake)) == {name: column.description for name, column in SPEC.columns.items()}
    assert (lake.contents(SPEC), opened(lake).file_uris()) == (before, files)
    assert opened(lake).metadata().configuration["delta.enableChangeDataFeed"] == "true"
    feed = pl.DataFrame(opened(lake).load_cdf(starting_version=version + 1, allow_out_of_range=True).read_all())
    assert feed.is_empty()

    reworded = replace(SPEC, columns={**SPEC.columns, "text": Column(pa.string(), "What it says.")})
    assert lake.describe(reworded, "What was said.")
    assert comments(opened(lake))["text"] == "What it says."
    assert lake.contents(SPEC) == before
    assert lake.applied(SPEC, ["app"]) == {"app": 1}


def test_files_do_not_repeat_the_words(lake: LakeResource) -> None:
    lake.merge_newer(SPEC, rows("a"), [0], {"app": 1})
    lake.describe(SPEC, "What was said.")
    assert lake.merge_newer(SPEC, rows("b"), [0], {"app": 2}) == Changes(inserted=1)
    for path in pl.DataFrame(opened(lake).get_add_actions())["path"]:
        written = pq.read_schema(pa.BufferReader(lake.s3.get(f"{SPEC.name}/{path}")))
        assert not any(b"comment" in (field.metadata or {}) for field in written)
    assert lake.scan(SPEC).collect().sort("key").equals(rows("a", "b"))


def test_an_older_table_gets_statistics_for_its_new_files(lake: LakeResource) -> None:
    columns = {name: column for name, column in SPEC.columns.items() if name != "country"}
    older = TableSpec.of(SPEC.name, columns, ("key",), text_columns=("text", "day", "posted_at"), feeds=True)
    lake.sync(older, rows("a").drop("country"), 0)
    snapshot = lake.snapshot(SPEC)
    assert snapshot is not None
    assert lake.folder(SPEC, snapshot).measured == ("key", "day", "posted_at", "updated_at"), "country is not there yet"
    assert lake.describe(SPEC, "What was said.")
    assert opened(lake).metadata().configuration[MEASURED] == "key,day,posted_at,updated_at"
    lake.merge_newer(SPEC, rows("b"), [0], {"app": 1})
    assert lake.describe(SPEC, "What was said.")
    assert opened(lake).metadata().configuration[MEASURED] == ",".join(SPEC.measured)
    assert [found["min.country"] for found in statistics(opened(lake))] == [None, "Db"]
    assert sorted(lake.scan(SPEC).collect()["key"]) == ["a", "b"]


def test_words_outlive_the_deletion_of_history(lake: LakeResource) -> None:
    lake.sync(SPEC, rows("a"), 0)
    lake.describe(SPEC, "What was said.")
    delete_history(lake.s3, SPEC.name)
    lake.refresh(SPEC)
    assert opened(lake).metadata().description == "What was said."
    assert comments(opened(lake))["key"] == 'The "key".'
    assert not lake.describe(SPEC, "What was said.")


def test_words_and_rows_that_are_written_at_a_time_are_both_there(lake: LakeResource) -> None:
    lake.sync(SPEC, rows("a"), 0)
    other = LakeResource(s3=lake.s3)
    with lake.steady():
        opened(lake)
        other.sync(SPEC, rows("a", "b"), 0)
        assert not lake.describe(SPEC, "What was said."), "the next call commits it"
        assert lake.describe(SPEC, "What was said.")
    with other.steady():
        other.open(SPEC)
        assert lake.describe(SPEC, "Other words.")
        assert other.sync(SPEC, rows("c"), 0) == Changes(inserted=1, deleted=2)
    assert opened(lake).metadata().description == "Other words."
    assert lake.scan(SPEC).collect()["key"].to_list() == ["c"]


def test_a_table_has_its_words_from_its_first_commit(lake: LakeResource) -> None:
    with lake.describing(SPEC, "What was said."):
        lake.sync(SPEC, rows("a"), 0)
    first = DeltaTable(lake.s3.uri(SPEC.name), version=0, storage_options=lake.s3.delta_options)
    assert first.metadata().description == "What was said."
    assert comments(first) == {name: column.description for name, column in SPEC.columns.items()}
    assert opened(lake).version() == 1, "the commit of the row, and none of words"
