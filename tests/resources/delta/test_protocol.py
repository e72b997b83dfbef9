"""Tables of other engines with rules or features that Cippus does not implement: refused, with nothing written."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from resources.delta import change
from resources.delta.commit import write_commit
from resources.delta.maintenance import MOST_SMALL_FILES, LakeMaintenance
from resources.delta.protocol import UnsupportedTableError
from resources.delta.purge import delete_history
from resources.delta.table import Changes, LakeResource, TableSpec
from resources.errors import is_transient

SPEC = TableSpec(
    "lake/foreign",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("key", pa.string()),
            ("text", pa.string()),
            ("updated_at", pa.timestamp("us", tz="UTC")),
        ]
    ),
    ("key",),
    feeds=True,
    evolves=True,
    moves=True,
)
DAY = datetime(2024, 1, 1, tzinfo=UTC)
Upgrade = Callable[[LakeResource], None]


def rows(*keys: str, text: str = "x") -> pl.DataFrame:
    return pl.DataFrame([(0, key, text, DAY) for key in keys], schema=SPEC.polars_schema, orient="row")


def opened(lake: LakeResource) -> DeltaTable:
    return DeltaTable(lake.s3.uri(SPEC.name), storage_options=lake.s3.delta_options)


def log_entry(*actions: dict[str, Any]) -> Upgrade:
    """An engine's commit that delta-rs cannot make."""

    def upgrade(lake: LakeResource) -> None:
        version = max(item.key for item in lake.s3.list_objects(f"{SPEC.name}/_delta_log/") if "json" in item.key)
        number = int(version.rsplit("/", 1)[1].split(".")[0]) + 1
        body = "\n".join(json.dumps(action) for action in actions)
        lake.s3.put(f"{SPEC.name}/_delta_log/{number:020d}.json", body.encode())

    return upgrade


def protocol(reader: int, writer: int, **features: list[str]) -> Upgrade:
    return log_entry({"protocol": {"minReaderVersion": reader, "minWriterVersion": writer, **features}})


def metadata(lake: LakeResource) -> dict[str, Any]:
    """The metaData action of the table as it was created."""
    body = lake.s3.get(f"{SPEC.name}/_delta_log/{0:020d}.json") or b""
    [found] = [action["metaData"] for line in body.splitlines() if "metaData" in (action := json.loads(line))]
    return dict(found)


def setting(name: str, value: str) -> Upgrade:
    def upgrade(lake: LakeResource) -> None:
        found = metadata(lake)
        log_entry({"metaData": {**found, "configuration": {**found["configuration"], name: value}}})(lake)

    return upgrade


def column_rule(name: str, value: str) -> Upgrade:
    def upgrade(lake: LakeResource) -> None:
        found = metadata(lake)
        schema = json.loads(found["schemaString"])
        schema["fields"][2]["metadata"][name] = value
        log_entry({"metaData": {**found, "schemaString": json.dumps(schema)}})(lake)

    return upgrade


def append_only(lake: LakeResource) -> None:
    opened(lake).alter.set_table_properties({"delta.appendOnly": "true"})


def check_constraint(lake: LakeResource) -> None:
    opened(lake).alter.add_constraint({"has_text": "text <> ''"})


def deletion_vector(lake: LakeResource) -> None:
    """Delete a row as Spark does: the file stays in the table, with a deletion vector."""
    features = ["deletionVectors"]
    protocol(3, 7, readerFeatures=features, writerFeatures=features)(lake)
    body = lake.s3.get(f"{SPEC.name}/_delta_log/{1:020d}.json") or b""
    [added] = [action["add"] for line in body.splitlines() if "add" in (action := json.loads(line))]
    vector = {"storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"}
    vector |= {"sizeInBytes": 40, "cardinality": 6}  # type: ignore[dict-item]
    removed = {"path": added["path"], "dataChange": True, "deletionTimestamp": 1, "size": added["size"]}
    removed |= {"partitionValues": added["partitionValues"], "extendedFileMetadata": True}
    log_entry({"remove": removed}, {"add": {**added, "deletionVector": vector}})(lake)


UNWRITABLE: dict[str, tuple[Upgrade, str]] = {
    "unknown writer feature": (protocol(1, 7, writerFeatures=["changeDataFeed", "fromTheFuture"]), "fromTheFuture"),
    "row tracking": (protocol(1, 7, writerFeatures=["rowTracking", "domainMetadata"]), "writer feature rowTracking"),
    "unknown writer version": (protocol(1, 6), "writer version 6"),
    "append-only": (append_only, "table property delta.appendOnly=true"),
    "CHECK constraint": (check_constraint, "table property delta.constraints.has_text=text != ''"),
    "generated column": (column_rule("delta.generationExpression", "upper(key)"), "delta.generationExpression"),
    "identity column": (column_rule("delta.identity.start", "1"), "column property delta.identity.start"),
    "invariant": (column_rule("delta.invariants", '{"expression": {"expression": "x > 3"}}'), "delta.invariants"),
    "deletion vectors enabled": (setting("delta.enableDeletionVectors", "true"), "delta.enableDeletionVectors=true"),
    "column mapping enabled": (setting("delta.columnMapping.mode", "name"), "delta.columnMapping.mode=name"),
}
UNREADABLE: dict[str, tuple[Upgrade, str]] = {
    "deletion vectors": (deletion_vector, "reader feature deletionVectors"),
    "column mapping": (protocol(2, 5), "reader version 2"),
    "column mapping feature": (
        protocol(3, 7, readerFeatures=["columnMapping"], writerFeatures=["columnMapping"]),
        "reader feature columnMapping",
    ),
    "unknown reader feature": (
        protocol(3, 7, readerFeatures=["fromTheFuture"], writerFeatures=["fromTheFuture"]),
        "fromTheFuture",
    ),
    "unknown reader version": (protocol(4, 7, writerFeatures=[]), "reader version 4"),
}
WRITES: dict[str, Callable[[LakeResource], object]] = {
    "merge": lambda lake: lake.merge_newer(SPEC, rows("a", "z", text="y"), [0], {"app": 9}),
    "merge of a new column": lambda lake: lake.merge_newer(SPEC, rows("z").with_columns(n=pl.lit(1)), [0], {}),
    "sync": lambda lake: lake.sync(SPEC, rows("a"), 0),
    "append": lambda lake: lake.append(SPEC, rows("z")),
    "delete": lambda lake: lake.delete_where(SPEC, "key = 'a'"),
    "new column of a release": lambda lake: lake.create(
        TableSpec(SPEC.name, SPEC.schema.append(pa.field("added", pa.string())), SPEC.key)
    ),
    "compaction": lambda lake: LakeMaintenance(lake).compact(SPEC),
    "cleaning": lambda lake: LakeMaintenance(LakeResource(s3=lake.s3, retention_hours=0)).clean(SPEC),
    "purge": lambda lake: delete_history(lake.s3, SPEC.name),
}
READS: dict[str, Callable[[LakeResource], object]] = {
    "scan": lambda lake: lake.scan(SPEC).collect(),
    "scan of a bucket": lambda lake: lake.scan_cached(SPEC, 0).collect(),
    "rows": lambda lake: lake.bucket_rows(SPEC, 0),
    "contents": lambda lake: lake.contents(SPEC),
}


@pytest.fixture
def table(lake: LakeResource) -> LakeResource:
    """A resource that has a table with three rows open."""
    lake.append(SPEC, rows("a", "b", "c"))
    return lake


def objects(lake: LakeResource) -> dict[str, str]:
    return {item.key: item.etag for item in lake.s3.list_objects(f"{SPEC.name}/")}


def refused(table: LakeResource, actions: dict[str, Callable[[LakeResource], object]], feature: str) -> None:
    """Try all actions with a resource that has opened the table before, and with a new one."""
    before = objects(table)
    for action in actions.values():
        for lake in (table, LakeResource(s3=table.s3)):
            with pytest.raises(UnsupportedTableError) as caught:
                action(lake)
            message = str(caught.value)
            assert message.startswith(f"{table.s3.uri(SPEC.name)} uses Delta features that Cippus does not support (")
            assert feature in message
            assert "nothing was written" in message
            assert not is_transient(caught.value)
    assert objects(table) == before


@pytest.mark.parametrize("name", UNWRITABLE)
def test_a_table_with_unknown_rules_is_read_and_not_written(table: LakeResource, name: str) -> None:
    upgrade, feature = UNWRITABLE[name]
    upgrade(table)
    refused(table, WRITES, feature)
    assert table.scan(SPEC).collect().height == 3


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_table_that_data_files_do_not_describe_is_neither_read_nor_written(table: LakeResource, name: str) -> None:
    upgrade, feature = UNREADABLE[name]
    upgrade(table)
    refused(table, {**READS, **WRITES}, feature)


def test_known_features_by_name_are_written(table: LakeResource) -> None:
    known = ["appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"]
    protocol(1, 7, writerFeatures=known)(table)
    setting("delta.appendOnly", "false")(table)
    changed = rows("a", text="y").with_columns(updated_at=pl.lit(datetime(2024, 1, 2, tzinfo=UTC)))
    assert table.merge_newer(SPEC, changed, [0], {"app": 1}) == Changes(updated=1)
    for number in range(MOST_SMALL_FILES):
        table.append(SPEC, rows(f"k{number}"))
    assert LakeMaintenance(table).compact(SPEC).buckets == 1
    assert delete_history(table.s3, SPEC.name).versions > 0
    assert table.scan(SPEC).filter(pl.col("key") == "a").collect()["text"].to_list() == ["y"]


def test_a_table_that_is_upgraded_during_a_merge_is_refused(
    table: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions: list[int] = []

    def after_upgrade(*arguments: Any) -> int:
        if not versions:
            append_only(table)
        versions.append(arguments[2])
        return write_commit(*arguments)

    monkeypatch.setattr(change, "write_commit", after_upgrade)
    data = {key for key in objects(table) if "/_delta_log/" not in key}
    with table.steady(), pytest.raises(UnsupportedTableError, match=r"delta\.appendOnly=true"):
        table.merge_newer(SPEC, rows("z"), [0], {"app": 1})
    assert len(versions) == 1
    assert {key for key in objects(table) if "/_delta_log/" not in key} == data, "the attempt's file is deleted"


def test_a_table_of_another_engine_with_known_features_is_merged_into(lake: LakeResource) -> None:
    write_deltalake(
        lake.s3.uri(SPEC.name), rows("a"), partition_by=["account_bucket"], storage_options=lake.s3.delta_options
    )
    changed = rows("a", "b", text="y").with_columns(updated_at=pl.lit(datetime(2024, 1, 2, tzinfo=UTC)))
    assert lake.merge_newer(SPEC, changed, [0], {"app": 1}) == Changes(inserted=1, updated=1)
