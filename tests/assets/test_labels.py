"""Label files: which files and rows can be used, whatever is dropped beside them; each version is read once."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import materialize

from assets import dropped_files
from assets.labels import gold, votes
from assets.lake import LAKE_ACCOUNTS
from assets.transforms.labels.files import as_labels
from assets.transforms.source.schema import LABELS_SCHEMA
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.isolation.process import UnreadableFileError, read
from resources.isolation.worker import RefusedFileError
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Resource
from tests.worlds.damaged_files import FORMATS

LABEL = {"item_kind": "account", "item_id": "a", "vertical": "food", "is_member": True, "annotator": "me"}
INFINITE = pa.array([2**63 - 1, 0], pa.timestamp("us"))


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def file_of(*rows: dict[str, object]) -> bytes:
    return written(pa.Table.from_pylist(list(rows), schema=LABELS_SCHEMA))


def labels_of(table: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = as_labels(table).to_pylist()
    return found


@pytest.mark.parametrize("column", ["item_id", "annotator", "vertical", "item_kind"])
@pytest.mark.parametrize(
    "values",
    [
        INFINITE,
        pa.array([-(2**63) + 1, 0], pa.timestamp("ms", "UTC")),
        pa.array([10**15, 0], pa.timestamp("s")),
        pa.array([2**31 - 1, 0], pa.date32()),
    ],
    ids=str,
)
def test_a_label_with_a_time_out_of_range_is_rejected_and_the_others_stand(column: str, values: pa.Array) -> None:
    table = pa.Table.from_pylist([LABEL, LABEL], schema=LABELS_SCHEMA)
    good, bad = labels_of(table.set_column(table.column_names.index(column), column, values))
    assert (good["reason"], good["row"], good["is_member"]) == (None, None, True)
    assert bad["reason"] == f"{column} cannot be read as string"
    assert "infinity, or " in bad["row"]


@pytest.mark.parametrize("held", [pa.int8(), pa.int64(), pa.float64()], ids=str)
def test_zero_and_one_are_truth_values(held: pa.DataType) -> None:
    table = pa.Table.from_pylist([LABEL] * 3, schema=LABELS_SCHEMA)
    found = labels_of(table.set_column(3, "is_member", pa.array([1, 0, None], held)))
    assert [row["is_member"] for row in found] == [True, False, None]
    found = labels_of(table.set_column(3, "is_member", pa.array([1, 2, 0], held)))
    assert [row["reason"] for row in found] == ["is_member cannot be read as bool"] * 3


def test_categories_of_pandas_are_the_values_that_they_stand_for() -> None:
    table = pa.Table.from_pylist([LABEL] * 3, schema=LABELS_SCHEMA)
    truth = pa.array(["yes", "no", None]).dictionary_encode()
    ids = pa.array([1.0, 2.0, 1.0]).dictionary_encode()
    found = labels_of(table.set_column(3, "is_member", truth).set_column(1, "item_id", ids))
    assert [(row["is_member"], row["item_id"]) for row in found] == [(True, "1"), (False, "2"), (None, "1")]


def test_a_second_byte_order_mark_is_no_part_of_a_header() -> None:
    body = "item_kind,item_id,vertical,is_member\npost,p,food,yes\n".encode("utf-8-sig")
    for text in (body, b"\xef\xbb\xbf" + body, b"\xef\xbb\xbf\r\n" + body, b"\xef\xbb\xbfsep=,\n" + body[3:]):
        [row] = pa.concat_tables(dropped_files.label_rows("l.csv", text)).to_pylist()
        assert (row["item_kind"], row["item_id"]) == ("post", "p")


@pytest.mark.parametrize("body", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_named_in_any_format(body: bytes) -> None:
    for name in ("l.csv", "l.jsonl"):
        with pytest.raises(RefusedFileError, match="the file is empty"):
            list(dropped_files.label_rows(name, body))


def test_ids_that_pandas_wrote_as_doubles_are_the_same_ids() -> None:
    ids = pa.array([1.0, 12345678.0, float("nan"), 2.5, None])
    rows = pa.table({"item_kind": ["post"] * 5, "item_id": ids, "vertical": ["a"] * 5, "is_member": [True] * 5})
    assert as_labels(rows)["item_id"].to_pylist() == ["1", "12345678", None, "2.5", None]


def test_a_file_with_millions_of_rows_in_a_few_kilobytes_is_refused() -> None:
    """Twenty million rows of one value take 58 kB."""
    one = pa.array(["a"] * 1_000_001).dictionary_encode()
    table = pa.table({name: one for name in LABELS_SCHEMA.names if name != "is_member"})
    body = written(table.append_column("is_member", pa.nulls(1_000_001, pa.bool_())))
    assert len(body) < 100_000
    with pytest.raises(UnreadableFileError, match="the file has more than 1,000,000 rows, so it has to be split"):
        list(read(dropped_files.label_rows, "l.parquet", body))


def test_rows_that_take_more_than_their_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropped_files, "_MOST_DECODED_BYTES", 1 << 20)
    table = pa.Table.from_pylist([{**LABEL, "annotator": "x" * (2 << 20)}], schema=LABELS_SCHEMA)
    with pytest.raises(RefusedFileError, match="the rows of the file take more than 1 MiB, so it has to be split"):
        list(dropped_files.label_rows("l.parquet", written(table, compression="gzip")))


@pytest.fixture
def bucket(s3: S3Resource) -> S3Resource:
    account = dict.fromkeys(LAKE_ACCOUNTS.schema.names) | {
        "account_id": "a", "account_bucket": 0, "updated_at": datetime(2026, 3, 1, tzinfo=UTC)
    }  # fmt: skip
    LakeResource(s3=s3).sync(LAKE_ACCOUNTS, pl.DataFrame([account], schema=LAKE_ACCOUNTS.polars_schema))
    return s3


def run(bucket: S3Resource) -> dict[str, dict[str, int]]:
    """Materialize votes and labels; return asset → its integer metadata."""
    unused = S3Resource(**bucket.model_dump())  # Dagster takes no resource that has connected
    kinds = {
        "lake": LakeResource,
        "ledger": LedgerResource,
        "quarantine": QuarantineResource,
        "erasures": ErasureResource,
    }
    resources = {"s3": unused, **{name: kind(s3=unused) for name, kind in kinds.items()}}
    with pytest.warns(DeprecationWarning, match="dagster_run is deprecated"):
        done = materialize([*votes.ASSETS, *gold.ASSETS], resources=resources)
    assert done.success
    return {
        "/".join(event.asset_key.path if event.asset_key else ()): {
            name: entry.value for name, entry in event.materialization.metadata.items() if isinstance(entry.value, int)
        }
        for event in done.get_asset_materialization_events()
    }


def test_a_file_that_kills_its_reader_is_quarantined_and_the_others_land(bucket: S3Resource) -> None:
    """Damaged metadata ended the whole run: Rust panics or aborts. Polars panics on the file of seed 258."""
    body = file_of(LABEL)
    size = int.from_bytes(body[-8:-4], "little")
    damaged = {  # each length of the metadata in turn is huge
        f"{at:02}.parquet": body[: -8 - size + at] + b"\xff\xff\xff\xff\x0f" + body[-8 - size + at + 5 :]
        for at in range(0, min(size, 60), 6)
    }
    times = pa.Table.from_pylist([LABEL, LABEL], schema=LABELS_SCHEMA).set_column(4, "annotator", INFINITE)
    files = {
        **damaged,
        "panic.parquet": FORMATS["labels"].damaged(258),
        "good.parquet": body,
        "times.parquet": written(times),
        "text.parquet": b"a,b\n",
        "empty.parquet": b"",
    }
    for name, content in files.items():
        bucket.put(f"{votes.LANDING}{name}", content)
    run(bucket)
    gold_rows = LakeResource(s3=bucket).scan(gold.GOLD).collect()
    assert gold_rows.select("item_id", "vertical", "is_member").rows() == [("a", "food", True)]
    found = pl.concat(QuarantineResource(s3=bucket).rows())
    reasons = dict(found.select("row_key", "reason").rows())
    assert reasons["landing/labels/text.parquet"].startswith("the file cannot be read: ")
    assert reasons["landing/labels/empty.parquet"].startswith("the file cannot be read: ")
    assert reasons["a"] == "annotator cannot be read as string"
    assert sum(key.startswith("landing/labels/") for key in reasons) > 6


def test_a_quarantine_file_that_cippus_did_not_write_is_a_rejected_row(s3: S3Resource) -> None:
    quarantine = QuarantineResource(s3=s3)
    quarantine.land("labels", "labels", "item_id", pl.DataFrame({"item_id": ["a"], "reason": ["late"]}))
    times = pa.table(dict.fromkeys(("source_table", "row_key", "reason", "row_json"), INFINITE))
    for name, body in (("z1", b"text"), ("z2", written(times)), ("z3", file_of(LABEL)), ("z4", b"")):
        s3.put(f"landing/quarantine/{name}.parquet", body)
    found = pl.concat(quarantine.rows()).sort("row_key").select("source_table", "row_key", "reason").rows()
    assert found[0] == ("labels", "a", "late")
    assert [row[:2] for row in found[1:]] == [
        ("quarantine files", f"landing/quarantine/z{n}.parquet") for n in range(1, 5)
    ]
    assert found[2][2] == found[3][2] == "the file is not of Cippus; remove it"


CSV = "\ufeffItem_Kind;item_id;vertical;is_member;annotator;labelled_at\r\n" + "".join(
    f"account;a;{line}\r\n"
    for line in ("food;yes;Ann Lee;2026-03-01T10:00:00Z", "music;0;bo;", "pets;maybe;bo;", "x;y")
)
JSON_LINES: list[Any] = [
    {"item_kind": "account", "item_id": "a", "vertical": "food", "is_member": False, "annotator": " ann  LEE ",
     "labelled_at": "2026-03-02 10:00:00+02:00"},
    {"item_kind": "account", "item_id": "a", "vertical": "music", "is_member": 1},
    {"item_kind": "account", "item_id": "a", "vertical": "music"},
    ["a list"],
]  # fmt: skip


def test_csv_and_json_lines_are_read_and_each_version_of_a_file_once(bucket: S3Resource) -> None:
    bucket.put(f"{votes.LANDING}sheet.CSV", CSV.encode("utf-16-le"))
    bucket.put(f"{votes.LANDING}deep/lines.jsonl", "\n".join([*map(json.dumps, JSON_LINES), "{", ""]).encode())
    bucket.put(f"{votes.LANDING}no.csv", b"item_kind,item_id,vertical\npost,p,food\n")
    bucket.put(f"{votes.LANDING}no.jsonl", b"not json\n")
    assert run(bucket)["label/votes"]["files_taken"] == 4
    lake = LakeResource(s3=bucket)
    found = lake.scan(votes.VOTES).sort("source_file", "row").select("vertical", "is_member", "voter", "labelled_at")
    file = "file:landing/labels/deep/lines.jsonl"
    assert found.collect().rows() == [
        ("food", False, "ann-lee", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        ("music", True, file, None),
        ("food", True, "ann-lee", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("music", False, "bo", None),
    ]
    drops = lake.scan(votes.VOTES).select("source_file", "dropped_at").unique().collect()
    assert drops.null_count().row(0) == (0, 0)
    assert lake.scan(gold.GOLD).select("labelled_at").collect()["labelled_at"].null_count() == 0
    judged = lake.scan(gold.GOLD).select("vertical", "is_member", "votes").collect()
    assert judged.rows() == [("food", False, 1)], "the newest vote of ann, and an even split on music"
    reasons = sorted(pl.concat(QuarantineResource(s3=bucket).rows())["reason"])
    assert reasons == [
        "is_member cannot be read as bool",
        "line 5 has 4 cells, and the header has 6",
        "no line of the file is a label; in the first, the line is not JSON",
        "the file has no column is_member",
        "the line has no is_member",
        "the line is not JSON",
        "the line is not a JSON object",
    ]
    bucket.put(f"{votes.LANDING}day.jsonl", json.dumps(JSON_LINES[0] | {"vertical": "pets"}).encode())
    bucket.delete([f"{votes.LANDING}sheet.CSV"])
    counts = run(bucket)["label/votes"]
    assert (counts["files"], counts["files_taken"], counts["files_gone"]) == (4, 1, 1)
    assert sorted(lake.scan(gold.GOLD).select("vertical", "is_member").collect().rows()) == [
        ("food", False), ("music", True), ("pets", False)
    ]  # fmt: skip
