"""Snapshot exports on S3: whole or not and why, both layouts, and rows that are the database's."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from assets.raw.extraction import Extraction
from assets.transforms.source.contract import compare, landed_schema, read_columns, recast_rows
from assets.transforms.source.schema import POSTS, SOURCE_TABLES, TESTIMONIALS, TIMESTAMP, SourceTable
from pipelines.samples.rds_export import write_export
from resources.local_stack import EmbeddedStack
from resources.raw.store import RawStoreResource
from resources.s3.client import S3Resource
from resources.s3.parquet import UnusableFileError
from resources.sources.protocol import KeyRange, ReadWindow
from resources.sources.rds_export import (
    ExportAmbiguousError,
    ExportNotReadyError,
    ExportUnusableError,
    RdsExportResource,
    SnapshotExport,
)

ID, ROOT = "nightly", "exports/nightly/"
LAYOUTS = pytest.mark.parametrize("batched", [True, False], ids=["batches", "flat"])


@pytest.fixture
def exports(s3: S3Resource) -> RdsExportResource:
    return RdsExportResource(s3=s3, location="exports")


@pytest.fixture(scope="module")
def written(stack: EmbeddedStack) -> tuple[S3Resource, dict[str, bytes]]:
    """An export of five posts in a bucket of its own, and its objects."""
    s3 = S3Resource(
        bucket="exports-with-faults",
        endpoint_url=stack.s3_endpoint,
        access_key_id=stack.s3_access_key_id,
        secret_access_key=stack.s3_secret_access_key,
    )
    s3.client.create_bucket(Bucket=s3.bucket)
    with psycopg.connect(stack.postgres_dsn, autocommit=True) as source:
        source.execute("TRUNCATE accounts, posts, testimonials")
        fill(source, 5)
    write_export(stack.postgres_dsn, s3, "exports/", ID)
    return s3, {item.key: s3.get(item.key) or b"" for item in s3.list_objects("")}


@pytest.fixture
def whole(written: tuple[S3Resource, dict[str, bytes]]) -> Iterator[RdsExportResource]:
    """That export, whose objects are all put back afterwards."""
    s3, objects = written
    yield RdsExportResource(s3=s3, location="exports")
    for key, body in objects.items():
        s3.put(key, body)
    s3.delete([item.key for item in s3.list_objects("") if item.key not in objects])


def fill(source: "psycopg.Connection[Any]", posts: int = 25) -> None:
    source.execute(
        "INSERT INTO posts SELECT 'p' || n, 'a', 'x', '2024-02-01 08:00:00.12+05:30', e'it''s\\n' || n, "
        "ARRAY['a b', NULL, 'q\"x', '']::text[], NULL, 'video', n, NULL, 0, n, now(), "
        "CASE WHEN n %% 2 = 0 THEN now() END FROM generate_series(1, %s) n",
        (posts,),
    )
    source.execute("INSERT INTO accounts (account_id, network, followers, updated_at) VALUES ('a', 'x', 7, now())")


def rows_of(export: SnapshotExport, table: SourceTable) -> list[dict[str, Any]]:
    columns = export.columns(table.name)
    difference = compare(table, columns)
    asked = read_columns(difference, columns)
    window = ReadWindow(table.name, table.key, asked, "updated_at", None, export.snapshot)
    found: list[dict[str, Any]] = []
    with export.read(window) as batches:
        for batch in batches:
            rows, rejects = recast_rows(landed_schema(difference), pa.Table.from_batches([batch]))
            assert rejects.is_empty()
            found += rows.to_pylist()
    return sorted(found, key=lambda row: str(row[table.key]))


def rows_in(source: "psycopg.Connection[Any]", table: SourceTable) -> list[dict[str, Any]]:
    names = table.schema.names
    rows = source.execute(f"SELECT {', '.join(names)} FROM {table.name}".encode()).fetchall()
    return sorted((dict(zip(names, row, strict=True)) for row in rows), key=lambda row: str(row[table.key]))


@LAYOUTS
def test_an_export_has_the_databases_rows_in_the_declared_types(
    stack: EmbeddedStack, s3: S3Resource, source: "psycopg.Connection[Any]", exports: RdsExportResource, batched: bool
) -> None:
    fill(source)
    taken = write_export(stack.postgres_dsn, s3, "exports/", ID, batched=batched, rows_a_file=4)
    keys = [item.key for item in s3.list_objects(f"{ROOT}creators/public.posts/")]
    assert any("/part-00003-" in key for key in keys)
    assert not any("/part-00002-" in key for key in keys)
    assert exports.listed() == [ID]
    assert exports.completeness(ID, SOURCE_TABLES).is_complete
    export = exports.open(ID, SOURCE_TABLES)
    assert export.snapshot == taken
    assert export.safe_high_water_mark() == taken - timedelta(hours=1)
    for table in SOURCE_TABLES.values():
        assert rows_of(export, table) == rows_in(source, table)
    assert export.columns("posts")["hashtags"] == "ARRAY"
    assert export.columns("unknown") == {}


def test_a_copied_snapshot_is_as_old_as_its_rows_whatever_one_of_them_says(
    whole: RdsExportResource, s3: S3Resource
) -> None:
    export = whole.open(ID, [POSTS.name])
    extraction = Extraction(export, RawStoreResource(s3=s3), POSTS, 8, lambda _: None, timedelta())
    original, ahead = export.snapshot - timedelta(days=5), export.snapshot + timedelta(days=27_000)
    extraction._note(pa.chunked_array([pa.array([original, ahead, None], TIMESTAMP)]))
    assert extraction.newest_timestamp == original
    assert export.mark_of(extraction.newest_timestamp) == original - export.allowance
    assert export.mark_of(None) < datetime(1971, 1, 1, tzinfo=UTC), "an empty table says nothing of its age"


def test_a_row_group_is_all_that_is_read_at_a_time(
    stack: EmbeddedStack, s3: S3Resource, source: "psycopg.Connection[Any]", exports: RdsExportResource
) -> None:
    fill(source)
    write_export(stack.postgres_dsn, s3, "exports/", ID, rows_a_file=10)
    export = exports.open(ID, ["posts"])
    window = ReadWindow("posts", "post_id", ("post_id",), "updated_at", None, export.snapshot)
    with export.read(window) as batches:
        assert [batch.num_rows for batch in batches] == [5, 5, 2, 2, 1, 5, 5]


def test_an_export_may_lie_in_another_bucket_and_without_a_prefix(
    stack: EmbeddedStack, s3: S3Resource, source: "psycopg.Connection[Any]"
) -> None:
    elsewhere = s3.model_copy(update={"bucket": f"{s3.bucket}-exports"})
    elsewhere.client.create_bucket(Bucket=elsewhere.bucket)
    fill(source)
    write_export(stack.postgres_dsn, elsewhere, "", ID)
    exports = RdsExportResource(s3=s3, location=f"s3://{elsewhere.bucket}")
    assert exports.listed() == [ID]
    assert len(rows_of(exports.open(ID, ["posts"]), POSTS)) == 25
    assert RdsExportResource(s3=s3).listed() == []


Fault = Callable[[S3Resource], None]


def info(**changes: Any) -> Fault:
    def change(s3: S3Resource) -> None:
        key = f"{ROOT}export_info_{ID}.json"
        value = {**s3.get_json(key), **changes}
        s3.put_json(key, {name: field for name, field in value.items() if field is not None})

    return change


def posts_entry(**changes: Any) -> Fault:
    def change(s3: S3Resource) -> None:
        for item in s3.list_objects(f"{ROOT}export_tables_info_"):
            value = s3.get_json(item.key)
            for entry in value["perTableStatus"]:
                entry.update(changes if entry["target"].endswith(".posts") else {})
            s3.put_json(item.key, value)

    return change


def gone(part: str) -> Fault:
    return lambda s3: s3.delete([item.key for item in s3.list_objects(ROOT) if part in item.key][:1])


def another_database(s3: S3Resource) -> None:
    key = next(item.key for item in s3.list_objects(f"{ROOT}export_tables_info_"))
    value = s3.get_json(key)
    s3.put_json(
        key, {"perTableStatus": [*value["perTableStatus"], {"target": "old.public.posts", "status": "COMPLETE"}]}
    )


def damaged(s3: S3Resource) -> None:
    s3.put(f"{ROOT}export_info_{ID}.json", b"{")


def _raised_of(fault: Fault, is_final: bool) -> type[Exception]:
    if fault is another_database:
        return ExportAmbiguousError  # final for a run, but not for who asks again with another setting
    return ExportUnusableError if is_final else ExportNotReadyError


@pytest.mark.parametrize(("fault", "is_final", "reason"), [
    (gone("export_info_"), False, "has no export_info_nightly.json yet"),
    (info(status="IN_PROGRESS"), False, "is IN_PROGRESS, not COMPLETE yet"),
    (info(status="FAILED", failureCause="No such key"), True, r"is FAILED \(No such key\); export again"),
    (info(status="CANCELED"), True, "is CANCELED"),
    (info(snapshotTime=None, taskStartTime=None), True, "lacks taskStartTime"),
    (info(snapshotTime="yesterday"), True, "has the time 'yesterday'; it must be like"),
    (gone("_from_1_to_2.json"), False, "no export_tables_info file for table number 1 yet"),
    (posts_entry(status="IN_PROGRESS"), False, "has IN_PROGRESS for public.posts"),
    (posts_entry(status="FAILED", warningMessage="a row of 3 GB"), True, "has FAILED for public.posts: a row of 3 GB"),
    (posts_entry(target="creators"), True, "the target 'creators'; it must be database.schema.table"),
    (posts_entry(target="creators.archive.posts"), True, "lacks the table public.posts of a database. AWS leaves out"),
    (another_database, False, r"in several databases \(creators, old\); set CIPPUS_RDS_EXPORT_DATABASE to the one"),
    (gone("public.posts/1/_SUCCESS"), False, r"no _SUCCESS in s3://.*/public.posts/1/ yet"),
    (gone("public.testimonials/1/_SUCCESS"), False, "no _SUCCESS in s3://.*/public.testimonials/ yet"),
    (damaged, True, "is damaged: it is not JSON"),
])  # fmt: skip
def test_an_export_that_is_not_whole_says_exactly_why(
    whole: RdsExportResource, fault: Fault, is_final: bool, reason: str
) -> None:
    fault(whole.s3)
    state = whole.completeness(ID, SOURCE_TABLES)
    assert (state.is_complete, state.is_final) == (False, is_final)
    with pytest.raises(_raised_of(fault, is_final), match=reason) as raised:
        whole.open(ID, SOURCE_TABLES)
    assert str(raised.value) == state.reason
    assert state.reason.count("\n") == 0


@pytest.mark.parametrize("mistyped", ["nightli", "nightly2", "night", "NIGHTLY", "nightly/creators", ""])
def test_a_mistyped_export_is_refused_at_once_with_those_that_exist(whole: RdsExportResource, mistyped: str) -> None:
    with pytest.raises(ExportUnusableError, match=f"no export {mistyped} in exports: the last ones there are {ID}"):
        whole.open(mistyped, ["posts"])


def test_a_table_that_aws_left_out_is_missed_by_name_and_other_tables_are_not(
    stack: EmbeddedStack, s3: S3Resource, source: "psycopg.Connection[Any]", exports: RdsExportResource
) -> None:
    source.execute('ALTER TABLE testimonials ADD COLUMN "odd name" text; CREATE TABLE "a/b" (id text)')
    try:
        write_export(stack.postgres_dsn, s3, "exports/", ID)
    finally:
        source.execute('ALTER TABLE testimonials DROP COLUMN "odd name"; DROP TABLE "a/b"')
    with pytest.raises(ExportUnusableError, match=r"lacks the table public.testimonials .* column whose name holds"):
        exports.open(ID, SOURCE_TABLES)
    assert exports.completeness(ID, ["posts", "accounts"]).is_complete
    info(exportOnly=["creators.public.posts", "creators.public.accounts"])(s3)
    state = exports.completeness(ID, SOURCE_TABLES)
    assert "requested for creators.public.posts, creators.public.accounts only" in state.reason


def test_one_of_several_databases_is_named_and_a_skipped_one_does_not_matter(whole: RdsExportResource) -> None:
    assert whole.completeness(ID, SOURCE_TABLES).is_complete
    another_database(whole.s3)
    named = RdsExportResource(s3=whole.s3, location="exports/", database="creators")
    assert named.completeness(ID, SOURCE_TABLES).is_complete
    assert not whole.completeness(ID, SOURCE_TABLES).is_complete


def test_an_export_of_mysql_names_the_database_in_the_place_of_a_schema(whole: RdsExportResource) -> None:
    expected = rows_of(whole.open(ID, ["posts"]), POSTS)
    posts_entry(target="creators.creators.posts")(whole.s3)
    for item in list(whole.s3.list_objects(f"{ROOT}creators/public.posts/")):
        whole.s3.put(item.key.replace("public.posts", "creators.posts"), whole.s3.get(item.key) or b"")
        whole.s3.delete([item.key])
    assert rows_of(whole.open(ID, ["posts"]), POSTS) == expected
    assert len(expected) == 5


def test_a_snapshot_has_no_key_ranges(whole: RdsExportResource) -> None:
    export = whole.open(ID, ["testimonials"])
    window = ReadWindow(
        "testimonials", TESTIMONIALS.key, ("rating",), "updated_at", None, export.snapshot, KeyRange("a")
    )
    with pytest.raises(ValueError, match="ranges of its key"), export.read(window):
        pass


def test_a_damaged_file_of_an_export_is_named(
    whole: RdsExportResource, written: tuple[S3Resource, dict[str, bytes]]
) -> None:
    s3, objects = written
    key = next(key for key in objects if "public.posts/" in key and key.endswith(".parquet"))
    for body in (b"", b"PAR1" * 9, objects[key][:-30] + b"\xff" * 30):
        s3.put(key, body)
        export = whole.open(ID, ["posts"])
        window = ReadWindow("posts", "post_id", ("post_id",), "updated_at", None, export.snapshot)
        reason = r"posts/.*\.parquet cannot be used: the file cannot be read: "
        with pytest.raises(UnusableFileError, match=reason) as raised, export.read(window) as batches:
            batches.read_all()
        assert str(raised.value).endswith(". Export again.")
