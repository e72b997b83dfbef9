"""The CSV files of a mart on S3: which of them a change writes, their names, and how many there are."""

from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest

from assets.framework.incremental import RunMetrics
from assets.quicksight import MOST_FILES, Export
from resources.delta.table import LakeResource, TableSpec
from resources.s3.client import S3Resource

SPEC = TableSpec("mart/things", pa.schema([("id", pa.int64()), ("account_bucket", pa.int32())]), ("id",))
WHOLE = TableSpec("mart/sums", pa.schema([("id", pa.int64())]), ("id",), partitioned=False)
BUCKETS, MANY = 8, 64


@pytest.fixture
def export(
    s3: S3Resource, lake: LakeResource, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Export:
    """A mart of some buckets with two rows each, exported once."""
    buckets = getattr(request, "param", BUCKETS)
    monkeypatch.setenv("CIPPUS_BUCKETS", str(buckets))
    lake.append(SPEC, pl.DataFrame({"id": range(2 * buckets), "account_bucket": [*range(buckets)] * 2}))
    made = Export(s3, lake, SPEC)
    assert refreshed(made) == buckets
    return made


def refreshed(export: Export) -> int:
    """Refresh the files; return the number of files written."""
    metrics = RunMetrics()
    changes = export.refresh(-1, metrics)
    assert changes.updated == metrics.counts["files_written"]
    return changes.updated


def written(before: dict[str, tuple[str, int]], after: dict[str, tuple[str, int]]) -> set[str]:
    return {key for key, about in after.items() if about != before.get(key)}


@pytest.mark.parametrize("export", [MANY], indirect=True)
def test_only_files_whose_rows_changed_are_written(export: Export) -> None:
    before = export.stored()
    assert refreshed(export) == 0
    assert export.stored() == before
    for bucket in (0, 7, 8, 40, 63):
        export.lake.append(SPEC, pl.DataFrame({"id": [1000 + bucket], "account_bucket": [bucket]}))
    assert refreshed(export) == 5
    changed = written(before, export.stored())
    assert changed == {f"quicksight/things/data/{bucket:04}.csv" for bucket in (0, 7, 8, 40, 63)}
    assert export.s3.get("quicksight/things/data/0007.csv") == b'"id","account_bucket"\r\n7,7\r\n71,7\r\n1007,7\r\n'


def test_files_that_somebody_changed_or_deleted_are_written_again(export: Export) -> None:
    before = export.stored()
    export.s3.put("quicksight/things/data/0003.csv", b"edited")
    export.s3.delete(["quicksight/things/data/0005.csv"])
    export.s3.put("quicksight/things/data/0all.csv", b"an older name")
    assert refreshed(export) == 2
    assert export.stored() == before


def test_a_lost_or_damaged_record_only_costs_writing(export: Export) -> None:
    before = export.stored()
    export.s3.put("ledger/quicksight/things/files.json", b"{")
    assert refreshed(export) == BUCKETS
    assert export.stored() == before


@pytest.mark.parametrize("names", [["id"], ["account_bucket", "id"]])
def test_other_columns_are_written_though_no_row_changed(export: Export, names: list[str]) -> None:
    """A version of Cippus may add, drop or move columns of a mart."""
    other = replace(SPEC, schema=pa.schema([SPEC.schema.field(name) for name in names]))
    changed = Export(export.s3, export.lake, other)
    assert changed.form != export.form
    assert refreshed(changed) == BUCKETS
    assert refreshed(changed) == 0
    header = (export.s3.get("quicksight/things/data/0000.csv") or b"").split(b"\r\n")[0]
    assert header.decode() == ",".join(f'"{name}"' for name in names)


def test_many_buckets_share_files(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_BUCKETS", str(4 * MOST_FILES))
    files = export.buckets_by_file()
    assert {key: len(buckets) for key, buckets in files.items()} == {
        f"quicksight/things/data/{number:04}.csv": 4 for number in range(BUCKETS // 4)
    }
    assert refreshed(export) == BUCKETS // 4
    assert {key for key in export.stored() if key.endswith(".csv")} == set(files)
    body = export.s3.get("quicksight/things/data/0000.csv") or b""
    assert pl.read_csv(body)["id"].to_list() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_a_mart_without_buckets_or_rows_is_one_file(export: Export) -> None:
    sums = Export(export.s3, export.lake, WHOLE)
    assert refreshed(sums) == 1
    assert export.s3.get("quicksight/sums/data/all.csv") == b'"id"\r\n'
    export.lake.append(WHOLE, pl.DataFrame({"id": [1]}))
    assert refreshed(sums) == 1
    assert refreshed(sums) == 0
    assert [key for key in sums.stored() if key.endswith(".csv")] == ["quicksight/sums/data/all.csv"]
