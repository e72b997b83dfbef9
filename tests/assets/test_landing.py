"""Dropped files that no stage reads are named with the reason; files of stages and markers of tools are not."""

from collections.abc import Mapping
from typing import Any

import pytest
from dagster import materialize

from assets import quarantine
from assets.landing import FileNotTaken, files_not_taken
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Resource
from resources.sources.rds_export import RdsExportResource

LABELS, AUDIENCE = "landing/labels/", "landing/audience/"
ONLY = "landing/labels/ takes only files named *.parquet, *.csv or *.jsonl"
NOWHERE = "no stage reads this folder; files are read from landing/labels/, landing/judgements/, landing/audience/"
NOT_TAKEN = {
    f"{LABELS}more.txt": ONLY,
    f"{LABELS}more.json": ONLY,
    f"{LABELS}more.parquet.gz": ONLY,
    f"{LABELS}more.pq": ONLY,
    f"{LABELS}deep/_more.xlsx": ONLY,
    f"{LABELS}empty.tsv": ONLY,
    "landing/labels.parquet": NOWHERE,
    "landing/label/more.parquet": NOWHERE,
    "landing/Labels/more.parquet": NOWHERE,
    "landing/audience.csv": NOWHERE,
}
TAKEN = (
    *(f"{LABELS}{name}" for name in ("a.parquet", "b.CSV", "c.jsonl", "spark.parquet/part-0.snappy.parquet")),
    *(f"{AUDIENCE}{name}" for name in ("a.csv", "a.txt", "deep/a.xlsx")),
    *("landing/cippus-probe-0", "landing/quarantine/labels-0.parquet", "raw/posts/0.csv", "elsewhere/labels.csv"),
)
MARKERS = (f"{LABELS}", f"{LABELS}spark.parquet/_SUCCESS", f"{LABELS}.part-0.parquet.crc", "landing/.ready")


@pytest.fixture
def dropped(s3: S3Resource) -> S3Resource:
    for key in (*NOT_TAKEN, *TAKEN, *MARKERS):
        is_empty = (key in MARKERS and not key.endswith(".crc")) or "empty" in key
        s3.put(key, b"" if is_empty else b"body")
    return s3


def test_each_file_that_no_stage_reads_is_named_with_the_reason(dropped: S3Resource) -> None:
    found = files_not_taken(dropped, RdsExportResource(s3=dropped))
    assert {file.key: file.reason for file in found} == NOT_TAKEN
    assert [file.key for file in found] == sorted(NOT_TAKEN)
    assert FileNotTaken(f"{LABELS}more.txt", 4, ONLY) in found


@pytest.mark.parametrize(
    ("location", "is_read"),
    [("landing/exports", True), ("s3://{bucket}/landing/exports/", True), ("s3://other/landing/exports", False)],
)
def test_exports_may_be_dropped_where_their_setting_says(s3: S3Resource, location: str, is_read: bool) -> None:
    s3.put("landing/exports/snapshot/export_info_snapshot.json", b"{}")
    exports = RdsExportResource(s3=s3, location=location.format(bucket=s3.bucket))
    assert [file.key for file in files_not_taken(s3, exports)] == (
        [] if is_read else ["landing/exports/snapshot/export_info_snapshot.json"]
    )


def test_the_quarantine_lists_them_until_they_are_gone(s3: S3Resource) -> None:
    def metadata() -> Mapping[str, Any]:
        unused = S3Resource(**s3.model_dump())  # Dagster takes no resource that has connected
        kinds = {"lake": LakeResource, "ledger": LedgerResource, "quarantine": QuarantineResource}
        resources: dict[str, Any] = {name: kind(s3=unused) for name, kind in kinds.items()}
        resources |= {"s3": unused, "rds_exports": RdsExportResource(s3=unused)}
        with pytest.warns(DeprecationWarning, match="dagster_run is deprecated"):
            done = materialize(quarantine.ASSETS, resources=resources)
        [event] = done.get_asset_materialization_events()
        return event.materialization.metadata

    s3.put(f"{LABELS}more.txt", b"x")
    found = metadata()
    assert found["files_not_taken"].value == 1
    assert [record.data for record in found["unread_files"].records] == [{"file": f"{LABELS}more.txt", "reason": ONLY}]
    s3.delete([f"{LABELS}more.txt"])
    assert metadata()["files_not_taken"].value == 0
