"""Deleting a table's history: its rows stay, and no file of its folder has other rows."""

import io
import json

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from resources.delta import purge
from resources.delta.purge import delete_history
from resources.s3.client import S3Resource

FOLDER = "stage/table"
LOG = f"{FOLDER}/_delta_log/"


def rows(first: int, last: int) -> pl.DataFrame:
    numbers = list(range(first, last))
    return pl.DataFrame({"bucket": [n % 2 for n in numbers], "id": [f"id-{n}" for n in numbers]})


def table_with_a_past(s3: S3Resource, **settings: str) -> DeltaTable:
    """Create a table with two appends, a delete that is in the log, and a transaction of an application."""
    uri, options = s3.uri(FOLDER), s3.delta_options
    settings = {f"delta.{name}": value for name, value in settings.items()}
    first = CommitProperties(app_transactions=[Transaction("source/0", 7)])
    write_deltalake(uri, rows(0, 10), partition_by=["bucket"], configuration=settings, storage_options=options)
    write_deltalake(uri, rows(10, 20), mode="append", storage_options=options, commit_properties=first)
    table = DeltaTable(uri, storage_options=options)
    table.delete("id IN ('id-3', 'id-4')")
    return table


def opened(s3: S3Resource) -> DeltaTable:
    return DeltaTable(s3.uri(FOLDER), storage_options=s3.delta_options)


def ids(s3: S3Resource) -> set[str]:
    return set(pl.read_delta(opened(s3))["id"])


def everything(s3: S3Resource) -> bytes:
    """Return all bytes of the folder, with Parquet decoded."""
    bodies = []
    for item in s3.list_objects(f"{FOLDER}/"):
        body = s3.get(item.key) or b""
        is_parquet = item.key.endswith(".parquet")
        bodies.append(str(pq.read_table(io.BytesIO(body)).to_pylist()).encode() if is_parquet else body)
    return b"\n".join(bodies)


@pytest.mark.parametrize("settings", [{}, {"enableChangeDataFeed": "true", "checkpointInterval": "2"}])
def test_rows_and_transactions_stay_and_the_past_goes(s3: S3Resource, settings: dict[str, str]) -> None:
    version = table_with_a_past(s3, **settings).version()
    standing = ids(s3)
    s3.put(f"{LOG}{0:020d}.{1:020d}.compacted.json", b"{}")
    s3.put(f"{LOG}{0:020d}.checkpoint.0000000001.0000000002.parquet", s3.get(_data(s3)) or b"")
    s3.put(f"{LOG}{0:020d}.crc", b"{}")
    s3.put(f"{FOLDER}/bucket=0/unnamed.parquet", s3.get(_data(s3)) or b"")
    assert b"id-3" in everything(s3)
    gone = delete_history(s3, FOLDER)
    assert ids(s3) == standing == {f"id-{n}" for n in range(20)} - {"id-3", "id-4"}
    assert b"id-3" not in everything(s3)
    assert gone.versions == version + 1
    assert gone.files > gone.versions
    table = opened(s3)
    assert table.version() == version + 1
    assert table.transaction_version("source/0") == 7
    assert table.metadata().configuration == {f"delta.{name}": value for name, value in settings.items()}
    write_deltalake(table, rows(20, 22), mode="append")
    assert ids(s3) == standing | {"id-20", "id-21"}


def _data(s3: S3Resource) -> str:
    return next(item.key for item in s3.list_objects(f"{FOLDER}/bucket=0/"))


def test_statistics_of_removed_files_leave_the_checkpoint(s3: S3Resource) -> None:
    """delta-rs writes none. Other writers do, and a checkpoint copies them."""
    table = table_with_a_past(s3)
    path = pl.DataFrame(table.get_add_actions())["path"][0]
    stats = json.dumps({"numRecords": 1, "minValues": {"id": "id-secret"}, "maxValues": {"id": "id-secret"}})
    remove = {"path": path, "deletionTimestamp": 1, "dataChange": True, "extendedFileMetadata": True, "size": 1}
    remove |= {"partitionValues": {"bucket": path[7]}, "stats": stats}
    s3.put(f"{LOG}{table.version() + 1:020d}.json", json.dumps({"remove": remove}).encode())
    standing = ids(s3)
    delete_history(s3, FOLDER)
    assert b"id-secret" not in everything(s3)
    assert ids(s3) == standing


def test_killed_between_log_and_files_a_second_call_finishes(s3: S3Resource, monkeypatch: pytest.MonkeyPatch) -> None:
    table_with_a_past(s3)
    standing, delete, calls = ids(s3), S3Resource.delete, []

    def killed(self: S3Resource, keys: list[str]) -> None:
        calls.append(keys)
        if len(calls) == 2:
            raise KeyboardInterrupt
        delete(self, keys)

    with monkeypatch.context() as patched:
        patched.setattr(S3Resource, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            delete_history(s3, FOLDER)
    assert ids(s3) == standing
    assert b"id-3" in everything(s3)
    delete_history(s3, FOLDER)
    assert ids(s3) == standing
    assert b"id-3" not in everything(s3)


def test_a_file_that_another_writer_has_not_committed_yet_stays(
    s3: S3Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    table_with_a_past(s3)
    standing, needed = ids(s3), purge._is_needed

    def while_somebody_writes(name: str, version: int) -> bool:
        if name == f"{0:020d}.json":
            write_deltalake(s3.uri(FOLDER), rows(30, 31), mode="append", storage_options=s3.delta_options)
        return needed(name, version)

    monkeypatch.setattr(purge, "_is_needed", while_somebody_writes)
    delete_history(s3, FOLDER)
    assert ids(s3) == standing | {"id-30"}
