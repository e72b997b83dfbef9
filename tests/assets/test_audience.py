"""The audience stage on a real lake: files taken in once whatever crashes, and rows of the lake's live accounts."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dagster import DagsterInstance, materialize

from assets import audience, dropped_files
from assets.audience import DEMOGRAPHICS, LANDING, REPORTS
from assets.framework.reporting import run_totals
from assets.lake import LAKE_ACCOUNTS
from assets.quarantine import QUARANTINE, rows
from assets.transforms.source.arrivals import digest
from assets.transforms.source.schema import account_bucket
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.isolation.process import Limits
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource
from resources.settings import bucket_count
from resources.sources.rds_export import RdsExportResource

THEN, DAY = datetime(2026, 3, 1, tzinfo=UTC), date(2026, 3, 1)
ALL = {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": str(bucket_count() - 1)}


class Stage:
    """The stage over one S3 bucket."""

    def __init__(self, s3: S3Resource, instance: DagsterInstance) -> None:
        self.s3, self.lake, self.ledger = s3, LakeResource(s3=s3), LedgerResource(s3=s3)
        self._instance = instance

    def run(
        self, *assets: Any, s3: S3Resource | None = None, tags: Mapping[str, str] = ALL
    ) -> dict[str, dict[str, Any]]:
        """Asset → metadata of a run of the stage, or of some assets."""
        unused = s3 or S3Resource(**self.s3.model_dump())  # Dagster takes no resource that has connected
        kinds = {
            "lake": LakeResource,
            "ledger": LedgerResource,
            "quarantine": QuarantineResource,
            "erasures": ErasureResource,
            "rds_exports": RdsExportResource,
        }
        resources = {"s3": unused, **{name: kind(s3=unused) for name, kind in kinds.items()}}
        with pytest.warns(DeprecationWarning, match="dagster_run is deprecated"):
            done = materialize(
                [*(assets or (*audience.ASSETS, rows))], resources=resources, instance=self._instance, tags=tags
            )
        return {key: {name: value.value for name, value in totals.items()} for key, totals in run_totals(done).items()}

    def drop(self, name: str, text: str) -> None:
        self.s3.put(f"{LANDING}{name}", text.encode())

    def accounts(self, *accounts: str, deleted: Sequence[str] = ()) -> None:
        blank = dict.fromkeys(LAKE_ACCOUNTS.schema.names)
        held = [
            {
                **blank,
                "account_id": account,
                "account_bucket": account_bucket(account, bucket_count()),
                "deleted_at": THEN if account in deleted else None,
            }
            for account in accounts
        ]
        self.lake.sync(LAKE_ACCOUNTS, pl.DataFrame(held, schema=LAKE_ACCOUNTS.polars_schema))

    def demographics(self) -> list[tuple[Any, ...]]:
        names = ["account_id", "dimension", "value", "share_percent", "as_of", "source_file"]
        return self.lake.scan(DEMOGRAPHICS).select(names).collect().sort(names).rows()

    def quarantined(self) -> list[tuple[Any, ...]]:
        names = ["source_table", "row_key", "reason"]
        return self.lake.scan(QUARANTINE).select(names).collect().sort(names).rows()


@pytest.fixture
def stage(s3: S3Resource) -> Iterator[Stage]:
    with DagsterInstance.ephemeral() as instance:
        yield Stage(s3, instance)


def test_files_of_live_accounts_stand_and_the_rest_has_a_reason(stage: Stage) -> None:
    stage.accounts("a", "b", "gone", deleted=["gone"])
    stage.drop("wide-2026-03-01.csv", "account_id;female;Shoes\na;51,5;x\nb;much;\ngone;1;\nstranger;2;\n")
    stage.drop("folder/broken.csv", "handle,female\na,1\n")
    stage.s3.put(f"{LANDING}folder/", b"")
    wide = f"{LANDING}wide-2026-03-01.csv"
    found = stage.run()
    assert stage.demographics() == [("a", "gender", "female", 51.5, DAY, wide)]
    assert stage.quarantined() == [
        ("audience accounts", "stranger", "account_id is not in the lake"),
        ("audience columns", wide, "the column is not in audience_columns.yaml"),
        ("audience files", f"{LANDING}folder/broken.csv", "no column means account_id"),
        ("audience rows", "b", "the share of gender female is not a number from 0 to 100"),
    ]
    assert {name: found["audience/reports"][name] for name in ("rows", "files", "files_taken", "quarantined")} == {
        "rows": 3,
        "files": 2,
        "files_taken": 2,
        "quarantined": 2,
    }
    before = {item.key: item.etag for item in stage.s3.list_objects("")}
    again = stage.run()
    assert {item.key: item.etag for item in stage.s3.list_objects("")} == before
    assert again["audience/reports"]["files_taken"] == 0
    assert again["audience/demographics"]["buckets_skipped"] == bucket_count()

    stage.accounts("a", "b", "gone", "stranger", deleted=["a", "gone"])
    stage.run(audience.demographics)
    assert stage.demographics() == [("stranger", "gender", "female", 2.0, DAY, wide)]


def test_a_file_that_kills_its_reader_is_quarantined_and_the_others_land(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limits(size_bytes: int) -> Limits:
        return Limits(memory_bytes=64 << 20, seconds=60)

    monkeypatch.setattr(audience, "report_limits", limits)
    monkeypatch.setattr(dropped_files, "MOST_BYTES", 20 << 20)
    stage.accounts("a")
    stage.drop("good-2026-03-01.csv", "account_id,female\na,1\n")
    stage.drop("large-2026-03-01.csv", "account_id,female\n" + "a,1\n" * (16 << 18))
    stage.drop("larger-2026-03-01.csv", " " * (21 << 20))
    stage.run()
    assert [row[3] for row in stage.demographics()] == [1.0]
    assert [(row[1].removeprefix(LANDING), row[2]) for row in stage.quarantined()] == [
        ("large-2026-03-01.csv", "reading the file takes more than 64 MiB of memory"),
        ("larger-2026-03-01.csv", "the file is larger than 20 MiB, so it has to be split"),
    ]


def test_an_overwritten_file_replaces_its_rows_and_a_deleted_one_takes_them_along(stage: Stage) -> None:
    stage.accounts("a", "b")
    stage.drop("it's-2026-03-01.csv", "account_id,female\na,1\nb,2\n")
    stage.drop("other-2026-03-01.csv", "account_id,female\na,3\n")
    stage.run(*audience.ASSETS)
    assert [row[3] for row in stage.demographics()] == [1.0, 3.0, 2.0]
    stage.drop("it's-2026-03-01.csv", "account_id,female\na,4\n")
    assert stage.run(*audience.ASSETS)["audience/reports"]["files_taken"] == 1
    assert [row[3] for row in stage.demographics()] == [3.0, 4.0]
    stage.s3.delete([f"{LANDING}it's-2026-03-01.csv"])
    assert stage.run(*audience.ASSETS)["audience/reports"]["files_gone"] == 1
    assert [row[3] for row in stage.demographics()] == [3.0]
    assert len(stage.ledger.taken(REPORTS.name)) == 1


def test_a_crash_before_the_record_takes_the_file_in_again_in_its_place(stage: Stage) -> None:
    stage.accounts("a")
    stage.drop("f-2026-03-01.csv", "account_id,female,male\na,1,2\n")
    stage.run(audience.reports)
    rows = stage.lake.scan(REPORTS).collect()
    stage.ledger.forget_taken(
        REPORTS.name, stage.ledger.taken(REPORTS.name)
    )  # as if the run had ended before the record
    stage.lake.append(REPORTS, rows.head(1))  # and another had taken the file in at the same time
    stage.run(audience.demographics)
    assert len(stage.demographics()) == 2
    assert stage.run(*audience.ASSETS)["audience/reports"]["files_taken"] == 1
    assert stage.lake.scan(REPORTS).collect().sort("value").equals(rows.sort("value"))
    assert len(stage.demographics()) == 2


class OverwrittenS3(S3Resource):
    """A bucket in which every report is overwritten after it was listed."""

    def get(self, key: str, etag: str = "") -> bytes | None:
        if etag and key.startswith(LANDING):
            self.put(key, b"account_id,female\na,2\n")
        return super().get(key, etag)


def test_a_file_that_changes_while_it_is_taken_in_is_left_to_the_next_run(stage: Stage) -> None:
    stage.accounts("a")
    stage.drop("f-2026-03-01.csv", "account_id,female\na,1\n")
    [listed] = stage.s3.list_objects(LANDING)
    found = stage.run(audience.reports, s3=OverwrittenS3(**stage.s3.model_dump()))
    assert found["audience/reports"]["files_taken"] == 0
    intake = stage.ledger.intake(REPORTS.name)
    assert intake.digest == digest([], "") != digest([listed], audience.report_rule())
    assert stage.run(*audience.ASSETS)["audience/reports"]["files_taken"] == 1
    assert [row[3] for row in stage.demographics()] == [2.0]
    assert stage.ledger.intake(REPORTS.name).run_id != intake.run_id


def test_only_a_run_that_a_sensor_asked_for_is_recorded_when_it_found_nothing_new(stage: Stage) -> None:
    stage.drop("f-2026-03-01.csv", "account_id,female\na,1\n")
    stage.run(audience.reports)
    first = stage.ledger.intake(REPORTS.name)
    stage.run(audience.reports)
    assert stage.ledger.intake(REPORTS.name) == first
    stage.run(audience.reports, tags={"dagster/run_key": "key"})
    second = stage.ledger.intake(REPORTS.name)
    assert second.digest == first.digest
    assert second.run_id != first.run_id


def test_files_are_committed_in_batches(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("assets.framework.intake._BATCH_FILES", 2)
    for number in range(5):
        stage.drop(f"{number}-2026-03-01.csv", f"account_id,female\na,{number}\n")
    stage.run(audience.reports)
    table = stage.lake.open(REPORTS)
    assert table is not None
    assert sum(entry["operation"] == "WRITE" for entry in table.history()) == 3
    assert stage.lake.scan(REPORTS).collect().height == 5


def test_objects_are_told_apart_by_key_and_tag() -> None:
    assert not audience.is_report(S3Object("landing/audience/folder/", 0, "e"))
    assert audience.is_report(S3Object("landing/audience/report.XLSX", 1, "e"))
