"""Rejects: landed once whatever is repeated, and read back with their reason."""

import json

import polars as pl
import pytest

from resources.raw.quarantine import PREFIX, REJECT_SCHEMA, QuarantineResource
from resources.s3.client import S3Resource

REJECTS = pl.DataFrame({"post_id": [2, None, 1], "text": ["é", None, "x"], "reason": ["late", "no key", "late"]})


@pytest.fixture
def quarantine(s3: S3Resource) -> QuarantineResource:
    return QuarantineResource(s3=s3)


def test_no_rejects_land_nothing(quarantine: QuarantineResource) -> None:
    before = quarantine.fingerprint()
    assert quarantine.land("raw", "posts", "post_id", REJECTS.clear()) == 0
    assert list(quarantine.rows()) == []
    assert quarantine.fingerprint() == before


def test_rejects_come_back_with_key_reason_and_row(quarantine: QuarantineResource) -> None:
    assert quarantine.land("raw", "posts", "post_id", REJECTS) == 3
    (found,) = quarantine.rows()
    assert dict(found.schema) == {name: dtype() for name, dtype in REJECT_SCHEMA.items()}
    assert found.select("source_table", "row_key", "reason").rows() == [
        ("posts", "1", "late"),
        ("posts", "2", "late"),
        ("posts", None, "no key"),
    ]
    assert [json.loads(row) for row in found["row_json"]] == [
        {"post_id": 1, "text": "x"},
        {"post_id": 2, "text": "é"},
        {"post_id": None, "text": None},
    ]


def test_landing_the_same_again_in_any_order_changes_nothing(quarantine: QuarantineResource) -> None:
    quarantine.land("raw", "posts", "post_id", REJECTS)
    landed = quarantine.fingerprint()
    assert quarantine.land("raw", "posts", "post_id", REJECTS.reverse()) == 3
    assert quarantine.fingerprint() == landed
    quarantine.land("labels", "posts", "post_id", REJECTS)
    assert quarantine.fingerprint() != landed
    keys = sorted(item.key for item in quarantine.s3.list_objects(""))
    assert [key.removeprefix(PREFIX).split("-")[0] for key in keys] == ["labels", "raw"]
    assert all(key.startswith(PREFIX) and key.endswith(".parquet") for key in keys)
