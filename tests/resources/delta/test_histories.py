"""Random histories of windows: rows, change feed, log and readers agree with a dictionary at every step."""

import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.delta.fingerprint import content_sum, named_sum
from resources.delta.maintenance import LakeMaintenance
from resources.delta.table import LakeResource, TableSpec

BUCKETS = 3
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("text", pa.string()),
        ("items", pa.list_(pa.string())),
        ("account_bucket", pa.int32()),
        ("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)
Row = tuple[str, str | None, list[str] | None, int, datetime]
Model = dict[str, Row]
numbers = count()

rows = st.tuples(
    st.sampled_from([f"k{number}" for number in range(9)]),
    st.none() | st.sampled_from(["x", "y"]),
    st.none() | st.lists(st.sampled_from("ab"), max_size=1),
    st.integers(0, BUCKETS - 1),
    st.integers(1, 4).map(lambda day: datetime(2024, 1, day, tzinfo=UTC)),
)
windows = st.lists(rows, max_size=6, unique_by=lambda row: row[0])


def frame(window: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(window, schema=dict(pl.from_arrow(SCHEMA.empty_table()).schema), orient="row")  # type: ignore[union-attr]


def expected(model: Model, window: list[Row]) -> Model:
    won = {row[0]: row for row in window if row[0] not in model or row[4] >= model[row[0]][4]}
    return {**model, **won}


def changes_of(table: DeltaTable, version: int) -> dict[str, list[Any]]:
    """Return change type → rows, of one version of the change feed."""
    feed = pl.DataFrame(table.load_cdf(starting_version=version, ending_version=version).read_all())
    told: dict[str, list[Any]] = {}
    for row in feed.select([*SCHEMA.names, "_change_type"]).iter_rows():
        told.setdefault(row[-1], []).append(row[:-1])
    return {kind: sorted(found, key=str) for kind, found in told.items()}


def changes_between(before: Model, after: Model) -> dict[str, list[Row]]:
    at = [{(row[0], row[3]): row for row in model.values()} for model in (before, after)]
    kept = [key for key in at[0].keys() & at[1].keys() if at[0][key] != at[1][key]]
    told = {
        "delete": [at[0][key] for key in at[0].keys() - at[1].keys()],
        "insert": [at[1][key] for key in at[1].keys() - at[0].keys()],
        "update_preimage": [at[0][key] for key in kept],
        "update_postimage": [at[1][key] for key in kept],
    }
    return {kind: sorted(found, key=str) for kind, found in told.items() if found}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(windows, min_size=1, max_size=5), replayed=st.integers(0, 4), tidied=st.integers(0, 4))
def test_a_history_of_windows_is_what_a_dictionary_says(
    lake: LakeResource, history: list[list[Row]], replayed: int, tidied: int
) -> None:
    spec = TableSpec(f"lake/things{next(numbers)}", SCHEMA, ("key",), feeds=True, moves=True, target_bytes=1_000)
    model: Model = {}
    for number, window in enumerate(history):
        before, model = model, expected(model, window)
        lake.merge_newer(spec, frame(window), range(BUCKETS), {"app": number})
        table = lake.create(spec)
        told = changes_of(table, table.version())
        assert told == changes_between(before, model)
        if number == replayed:
            version = table.version()
            assert lake.merge_newer(spec, frame(window), range(BUCKETS), {"app": number}).written == 0
            assert lake.create(spec).version() == version, "a repeated window writes nothing"
        if number == tidied:
            LakeMaintenance(lake).compact(spec)
    assert sorted(lake.scan(spec).select(SCHEMA.names).collect().rows(), key=str) == sorted(model.values(), key=str)
    assert_sound(lake, spec, model)


def assert_sound(lake: LakeResource, spec: TableSpec, model: Model) -> None:
    """Require equal rows for all readers, the oldest protocol, correct statistics, and sums in file names."""
    table = DeltaTable(lake.s3.uri(spec.name), storage_options=lake.s3.storage_options)
    assert table.protocol().min_reader_version == 1
    assert table.protocol().min_writer_version == 4
    read_by_delta_rs = pl.DataFrame(table.to_pyarrow_table()) if model else pl.DataFrame()
    assert read_by_delta_rs.height == len(model)
    for action in pl.DataFrame(table.get_add_actions(flatten=True)).iter_rows(named=True):
        body = pl.read_parquet(lake.s3.get(f"{spec.name}/{action['path']}") or b"")
        assert body.height == action["num_records"]
        assert (body["key"].min(), body["key"].max()) == (action["min.key"], action["max.key"])
        assert body["updated_at"].is_between(action["min.updated_at"], action["max.updated_at"]).all()
        assert body["key"].is_sorted()
        assert "account_bucket" not in body.columns
        assert named_sum(action["path"]) == content_sum(body)
    assert sum(found.rows for found in lake.contents(spec).values()) == len(model)


def test_commits_are_as_the_protocol_has_them(lake: LakeResource) -> None:
    spec = TableSpec("lake/things", SCHEMA, ("key",), feeds=True, text_columns=("text",))
    day = datetime(2024, 1, 1, tzinfo=UTC)
    lake.merge_newer(spec, frame([("a", "one", None, 0, day), ("b", "two", None, 0, day)]), [0], {"app": 1})
    lake.merge_newer(spec, frame([("a", "three", None, 0, day)]), [0], {"app": 2})
    body = lake.s3.get(f"{spec.name}/_delta_log/{2:020d}.json") or b""
    actions = [json.loads(line) for line in body.splitlines()]
    kinds = [next(iter(action)) for action in actions]
    assert kinds == ["commitInfo", "txn", "remove", "add", "cdc"]
    of = {kind: action[kind] for kind, action in zip(kinds, actions, strict=True)}
    assert of["txn"]["appId"] == "app"
    assert of["remove"].keys() >= {"path", "deletionTimestamp", "dataChange", "partitionValues", "size"}
    assert of["add"].keys() == {"path", "partitionValues", "size", "modificationTime", "dataChange", "stats"}
    assert of["cdc"].keys() == {"path", "partitionValues", "size", "dataChange"}
    assert of["cdc"]["dataChange"] is False
    assert of["cdc"]["path"].startswith("_change_data/account_bucket=0/")
    assert of["add"]["partitionValues"] == of["cdc"]["partitionValues"] == {"account_bucket": "0"}
    assert b"three" not in body, "no text in the log"
    assert of["add"]["path"] != of["remove"]["path"]


def test_columns_that_a_window_brings_are_added_and_kept(lake: LakeResource) -> None:
    spec = TableSpec("lake/things", SCHEMA, ("key",), feeds=True, evolves=True)
    day, later = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
    old = frame([("a", "one", None, 0, day), ("b", "two", None, 0, day), ("c", "three", None, 0, day)])
    lake.merge_newer(spec, old, [0], {"app": 1})
    wider = frame([("b", "new", None, 0, later)]).with_columns(mood=pl.lit("good"), tags=pl.lit(["x"]), size=pl.lit(3))
    lake.merge_newer(spec, wider, [0], {"app": 2})
    lake.merge_newer(spec, frame([("c", "newer", None, 0, later)]), [0], {"app": 3})
    held = lake.scan(spec).select("key", "text", "mood", "tags", "size").collect().sort("key").rows()
    nothing = (None, None, None)
    assert held == [("a", "one", *nothing), ("b", "new", "good", ["x"], 3), ("c", "newer", *nothing)]
    assert lake.merge_newer(spec, frame([("b", "new", None, 0, later)]), [0], {"app": 3}).written == 0, (
        "a row without the column has not changed"
    )
    narrow = TableSpec("lake/narrow", SCHEMA, ("key",))
    lake.merge_newer(narrow, wider, [0], {"app": 1})
    assert "mood" not in lake.scan(narrow).collect_schema()
