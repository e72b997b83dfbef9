"""The metadata of a snapshot export: read in every form, or a reason."""

from datetime import UTC, datetime

import pytest

from resources.s3.client import S3Resource
from resources.sources.export_metadata import ExportInfo, ExportMetadataError, described_ranges
from resources.sources.rds_export import RdsExportResource


@pytest.mark.parametrize("text", ["2023-07-19T23:21:00Z", "2023-07-20T01:21:00+02:00", "Jul 19, 2023, 11:21:00 PM",
                                  "Jul 19, 2023, 11:21:00\u202fPM"])  # fmt: skip
def test_moments_of_the_metadata_are_read_in_both_of_their_forms(text: str) -> None:
    at = datetime(2023, 7, 19, 23, 21, tzinfo=UTC)
    assert ExportInfo.from_json({"status": "COMPLETE", "taskStartTime": text}, "file").snapshot == at
    assert ExportInfo.from_json({"status": "x", "taskStartTime": "z", "snapshotTime": text}, "file").snapshot == at
    with pytest.raises(ExportMetadataError, match="file lacks status"):
        ExportInfo.from_json({"taskStartTime": text}, "file")


def test_files_that_describe_tables_follow_one_another() -> None:
    names = [f"export_tables_info_x_from_{first}_to_{last}.json" for first, last in ((1, 9), (10, 50), (51, 51))]
    assert described_ranges(reversed(names), "x") == (names, None)
    assert described_ranges([names[0], names[2], "export_tables_info_y_from_10_to_50.json"], "x")[1] == 10
    assert described_ranges([], "x") == ([], 1)


NESTED = b"[" * 100_000


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"', b'{"status": []}', NESTED, b"\xff", b""])
@pytest.mark.parametrize("name", ["export_info_e.json", "export_tables_info_e_from_1_to_1.json"])
def test_metadata_of_any_form_is_a_reason_and_no_defect(s3: S3Resource, body: bytes, name: str) -> None:
    s3.put("exports/e/export_info_e.json", b'{"status": "COMPLETE", "snapshotTime": "2026-03-01T00:00:00Z"}')
    s3.put("exports/e/export_tables_info_e_from_1_to_1.json", b"{}")
    s3.put(f"exports/e/{name}", body)
    state = RdsExportResource(s3=s3, location="exports").completeness("e", ["posts"])
    assert not state.is_complete
    assert state.reason


@pytest.mark.parametrize(
    "tables",
    [
        '{"perTableStatus": {}}', '{"perTableStatus": [7]}', '{"perTableStatus": "x"}',
        '{"perTableStatus": [{"target": "d.public.posts", "schemaMetadata": [1]}]}',
        '{"perTableStatus": [{"target": "d.public.posts", "schemaMetadata": {"originalTypeMappings": 7}}]}',
        '{"perTableStatus": [{"target": "d.public.posts", "schemaMetadata": {"originalTypeMappings": [7]}}]}',
    ],
)  # fmt: skip
def test_table_metadata_of_another_form_is_a_reason(s3: S3Resource, tables: str) -> None:
    s3.put("exports/e/export_info_e.json", b'{"status": "COMPLETE", "snapshotTime": "2026-03-01T00:00:00Z"}')
    s3.put("exports/e/export_tables_info_e_from_1_to_1.json", tables.encode())
    assert not RdsExportResource(s3=s3, location="exports").completeness("e", ["posts"]).is_complete
