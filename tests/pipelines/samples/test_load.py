"""Loading a folder: what becomes of each row, exactly once, and never behind an extraction's back."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.transforms.source.schema import LABELS_SCHEMA, SOURCE_TABLES
from pipelines.samples.load import LABELS_PREFIX, LoadReport, TableReport, load_folder
from resources.errors import InputError
from resources.local_stack import EmbeddedStack
from resources.raw.quarantine import PREFIX, QuarantineResource
from resources.raw.store import Manifest, RawStoreResource
from resources.s3.client import S3Resource
from resources.sources.postgres import SOURCE

OLD, NOON = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC)
Row = dict[str, Any]


@pytest.fixture
def bucket(stack: EmbeddedStack) -> Iterator[S3Resource]:
    """The stack's own bucket, which loads write to, without rejects, labels and windows."""
    found = S3Resource(
        bucket="cippus",
        endpoint_url=stack.s3_endpoint,
        access_key_id=stack.s3_access_key_id,
        secret_access_key=stack.s3_secret_access_key,
    )
    empty(found)
    yield found
    empty(found)


def empty(s3: S3Resource) -> None:
    keys = [item.key for prefix in (PREFIX, LABELS_PREFIX, "raw/") for item in s3.list_objects(prefix)]
    if keys:
        s3.delete(keys)


def account(account_id: str | None, **values: Any) -> Row:
    return {"account_id": account_id, "network": "x", "updated_at": NOON, **values}


def post(post_id: str | None, **values: Any) -> Row:
    return {"post_id": post_id, "account_id": "a", "network": "x", "updated_at": NOON, **values}


def write(folder: Path, accounts: list[Row] = [], posts: list[Row] = [], **others: list[Row]) -> Path:  # noqa: B006
    schemas = {**{name: table.schema for name, table in SOURCE_TABLES.items()}, "labels": LABELS_SCHEMA}
    for name, rows in {"accounts": accounts, "posts": posts, **others}.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=schemas[name]), folder / f"{name}.parquet")
    return folder


def held(source: psycopg.Connection[Any], table: str, *columns: str) -> list[tuple[Any, ...]]:
    """The rows of a table by key, in the columns named or in all."""
    names = ", ".join(columns or SOURCE_TABLES[table].schema.names)
    return source.execute(f"SELECT {names} FROM {table} ORDER BY {SOURCE_TABLES[table].key}").fetchall()


def extracted(s3: S3Resource, *tables: str) -> None:
    """As after a first extraction: a complete window of each table."""
    for table in tables:
        RawStoreResource(s3=s3).complete(Manifest(SOURCE, table, 1, None, NOON.isoformat(), 8))


def quarantined(s3: S3Resource) -> list[tuple[Any, ...]]:
    rows = [row for frame in QuarantineResource(s3=s3).rows() for row in frame.iter_rows()]
    return sorted((table, key, reason) for table, key, reason, _ in rows)


def test_rows_arrive_as_they_are(
    stack: EmbeddedStack, bucket: S3Resource, source: psycopg.Connection[Any], tmp_path: Path
) -> None:
    accounts = [
        account("a", handle="@a", display_name="É 🦊", bio="tab\t, \\N, \\, \"quote\"\nline", followers=2**40,
                country="FR", language="fr", created_at=OLD, deleted_at=NOON),
        account("b"),
    ]  # fmt: skip
    posts = [
        post("p", posted_at=OLD, text="hi", hashtags=["a b", 'c"d', None, "{x,y}", ""], likes=0, views=-1),
        post("q", hashtags=[]),
    ]
    testimonials = [{"testimonial_id": "t", "brand": "Acme", "rating": 5, "updated_at": NOON}]
    report = load_folder(write(tmp_path, accounts, posts, testimonials=testimonials), stack)
    for name, rows in (("accounts", accounts), ("posts", posts), ("testimonials", testimonials)):
        names = SOURCE_TABLES[name].schema.names
        assert held(source, name) == [tuple(row.get(column) for column in names) for row in rows]
    assert report == LoadReport(
        {
            "accounts": TableReport(2, inserted=2),
            "posts": TableReport(2, inserted=2),
            "testimonials": TableReport(1, inserted=1),
        },
        labels=0,
    )


@pytest.mark.parametrize("after_extraction", [False, True])
def test_loading_twice_changes_nothing(
    stack: EmbeddedStack,
    bucket: S3Resource,
    source: psycopg.Connection[Any],
    tmp_path: Path,
    after_extraction: bool,
) -> None:
    accounts = [account("a", bio="x"), account("b", updated_at=None), account("c", updated_at=NOON + timedelta(9999))]
    write(tmp_path, accounts, [post("p", hashtags=["x"])])
    load_folder(tmp_path, stack)
    before = {name: held(source, name, "ctid", "xmin", "*") for name in SOURCE_TABLES}
    if after_extraction:
        extracted(bucket, *SOURCE_TABLES)
    report = load_folder(tmp_path, stack)
    assert {name: held(source, name, "ctid", "xmin", "*") for name in SOURCE_TABLES} == before
    assert report.tables == {"accounts": TableReport(3, unchanged=3), "posts": TableReport(1, unchanged=1)}


def test_newer_rows_update_and_older_ones_do_not(
    stack: EmbeddedStack, bucket: S3Resource, source: psycopg.Connection[Any], tmp_path: Path
) -> None:
    load_folder(write(tmp_path, [account(key, bio="first") for key in "abcd"]), stack)
    changed = [
        account("a", bio="later", updated_at=NOON + timedelta(hours=1)),
        account("b", bio="as late"),
        account("c", bio="earlier", updated_at=OLD),
        account("d", bio="first", updated_at=OLD),
        account("e", bio="new", updated_at=OLD),
    ]
    report = load_folder(write(tmp_path, changed), stack)
    assert held(source, "accounts", "account_id", "bio", "updated_at") == [
        ("a", "later", NOON + timedelta(hours=1)),
        ("b", "as late", NOON),
        ("c", "first", NOON),
        ("d", "first", NOON),
        ("e", "new", OLD),
    ]
    assert report.tables["accounts"] == TableReport(5, inserted=1, updated=2, unchanged=1, stale=1)


def test_before_an_extraction_times_are_kept_up_to_the_present(
    stack: EmbeddedStack, bucket: S3Resource, source: psycopg.Connection[Any], tmp_path: Path
) -> None:
    [(start,)] = source.execute("SELECT clock_timestamp()").fetchall()
    rows = [account("a", updated_at=OLD), account("b", updated_at=None), account("c", updated_at=start + timedelta(9))]
    load_folder(write(tmp_path, rows), stack)
    [(end,)] = source.execute("SELECT clock_timestamp()").fetchall()
    [(kept,), (absent,), (ahead,)] = held(source, "accounts", "updated_at")
    assert kept == OLD
    assert start <= absent == ahead <= end


def test_after_an_extraction_new_and_changed_rows_are_stamped_with_the_present(
    stack: EmbeddedStack, bucket: S3Resource, source: psycopg.Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, [account("a", bio="first"), account("b", bio="first")], [post("p")])
    load_folder(tmp_path, stack)
    extracted(bucket, "accounts")
    [(start,)] = source.execute("SELECT clock_timestamp()").fetchall()
    changed = [account("a", bio="second"), account("b", bio="first"), account("c", updated_at=OLD)]
    load_folder(write(tmp_path, changed, [post("p", text="second", updated_at=NOON + timedelta(1))]), stack)
    [(end,)] = source.execute("SELECT clock_timestamp()").fetchall()
    [(changed_at,), (unchanged_at,), (inserted_at,)] = held(source, "accounts", "updated_at")
    assert start <= changed_at == inserted_at <= end
    assert unchanged_at == NOON
    assert held(source, "posts", "updated_at") == [(NOON + timedelta(1),)]  # posts were not extracted


def test_rows_that_cannot_be_used_are_set_aside_once(
    stack: EmbeddedStack, bucket: S3Resource, source: psycopg.Connection[Any], tmp_path: Path
) -> None:
    accounts = [
        account(None),
        account(" \t"),
        account("a", network=""),
        account("nul\x00"),
        account("b", bio="x\x00y"),
        account("c", bio="earlier", updated_at=OLD),
        account("c", bio="latest"),
        account("c", bio="undated", updated_at=None),
        account("d", bio="one"),
        account("d", bio="other"),
    ]
    posts = [post("p", account_id=None), post("q", hashtags=["fine", "x\x00"]), post("r", hashtags=[None])]
    write(tmp_path, accounts, posts)
    report = load_folder(tmp_path, stack)
    expected = [
        ("accounts", "a", "network is missing"),
        ("accounts", "b", "bio holds a NUL character"),
        ("accounts", "c", "account_id is repeated in the file"),
        ("accounts", "c", "account_id is repeated in the file"),
        ("accounts", "d", "account_id is repeated in the file"),
        ("accounts", "nul\x00", "account_id holds a NUL character"),
        ("posts", "p", "account_id is missing"),
        ("posts", "q", "hashtags holds a NUL character"),
    ]
    missing = [("accounts", None, "account_id is missing"), ("accounts", " \t", "account_id is missing")]
    assert held(source, "accounts", "account_id", "bio") == [("c", "latest"), ("d", "other")]
    assert held(source, "posts", "post_id") == [("r",)]
    assert report.tables["accounts"].rejected == Counter(
        {
            "account_id is repeated in the file": 3,
            "account_id is missing": 2,
            "network is missing": 1,
            "account_id holds a NUL character": 1,
            "bio holds a NUL character": 1,
        }
    )
    again = load_folder(tmp_path, stack)
    assert again.tables["accounts"] == TableReport(10, unchanged=2, rejected=report.tables["accounts"].rejected)
    rows = [row[:3] for frame in QuarantineResource(s3=bucket).rows() for row in frame.iter_rows()]
    assert Counter(rows) == Counter([*expected, *missing])


def test_labels_are_dropped_once(stack: EmbeddedStack, bucket: S3Resource, tmp_path: Path) -> None:
    label = {"item_kind": "post", "item_id": "p", "vertical": "food", "is_member": True}
    write(tmp_path, labels=[label, {**label, "item_id": "q"}])
    assert [load_folder(tmp_path, stack).labels for _ in range(2)] == [2, 2]
    [dropped] = bucket.list_objects(LABELS_PREFIX)
    assert bucket.get(dropped.key) == (tmp_path / "labels.parquet").read_bytes()
    write(tmp_path, labels=[label])
    assert load_folder(tmp_path, stack).labels == 1
    assert len(list(bucket.list_objects(LABELS_PREFIX))) == 2


NOT_UTF8 = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])


@pytest.mark.parametrize("broken", ["testimonials", "labels"])
def test_a_failure_in_the_last_file_leaves_everything_as_it_was(
    stack: EmbeddedStack, bucket: S3Resource, source: psycopg.Connection[Any], tmp_path: Path, broken: str
) -> None:
    load_folder(write(tmp_path, [account("a", bio="first")]), stack)
    rating = {"testimonial_id": "t", "updated_at": NOON}
    label = {"item_kind": "post", "item_id": "p", "vertical": "food", "is_member": True}
    rows = rating if broken == "testimonials" else label
    write(tmp_path, [account("a", bio="second"), account(None)], [post("p")], **{broken: [rows]})
    column, value = ("rating", pa.array([40_000])) if broken == "testimonials" else ("item_id", NOT_UTF8)
    table = pq.read_table(tmp_path / f"{broken}.parquet")
    pq.write_table(table.set_column(table.column_names.index(column), column, value), tmp_path / f"{broken}.parquet")
    with pytest.raises(InputError, match=f"{broken}.parquet column {column} holds a value that is not"):
        load_folder(tmp_path, stack)
    assert held(source, "accounts", "bio") == [("first",)]
    assert held(source, "posts") == []
    assert list(bucket.list_objects(PREFIX)) == list(bucket.list_objects(LABELS_PREFIX)) == []


def test_ignored_columns_and_progress_are_reported(
    stack: EmbeddedStack, bucket: S3Resource, source: psycopg.Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, [account("a")], [post(str(number)) for number in range(10_001)])
    accounts = pq.read_table(tmp_path / "accounts.parquet").append_column("zodiac", pa.array(["♌"]))
    pq.write_table(accounts, tmp_path / "accounts.parquet")
    heard: list[tuple[str, int]] = []
    report = load_folder(tmp_path, stack, lambda table, rows: heard.append((table, rows)))
    assert heard == [("accounts", 1), ("posts", 10_000), ("posts", 1)]
    assert report.tables["accounts"].ignored_columns == ("zodiac",)
    assert report.tables["posts"].ignored_columns == ()


VERSIONS = st.lists(
    st.builds(
        account,
        st.sampled_from(["a", "b", "c", None]),
        bio=st.sampled_from(["x", "y", "", None, "\x00"]),
        updated_at=st.sampled_from([None, OLD, NOON]),
    ),
    max_size=6,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(VERSIONS, min_size=1, max_size=3))
def test_every_row_read_has_one_fate(
    stack: EmbeddedStack,
    bucket: S3Resource,
    source: psycopg.Connection[Any],
    tmp_path: Path,
    files: list[list[Row]],
) -> None:
    source.execute("TRUNCATE accounts")
    for rows in files:
        before = {row[0]: row[1] for row in held(source, "accounts", "account_id", "updated_at")}
        [report, _] = load_folder(write(tmp_path, rows), stack).tables.values()
        after = {row[0]: row[1] for row in held(source, "accounts", "account_id", "updated_at")}
        fates = report.inserted + report.updated + report.unchanged + report.stale + report.rejected.total()
        assert report.read == len(rows) == fates
        assert report.inserted == len(after) - len(before)
        assert all(after[key] >= moment for key, moment in before.items())
    [again, _] = load_folder(tmp_path, stack).tables.values()
    assert (again.inserted, again.updated) == (0, 0)
