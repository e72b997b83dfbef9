"""The source contract: buckets that SQL, Python and a later split agree on, and what makes a row unusable."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.source.schema import (
    ACCOUNTS,
    POSTS,
    REASON,
    SOURCE_TABLES,
    TESTIMONIALS,
    account_bucket,
    lake_schema,
    newest_usable,
    with_bucket,
)

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def rows(table, *found: dict[str, object]) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    arrow = pa.Table.from_pylist([{"network": "x", "updated_at": NOON, **row} for row in found], schema=table.schema)
    return pl.DataFrame(pl.from_arrow(with_bucket(table, arrow, 8)))


def test_bucket_is_the_top_bits_of_md5() -> None:
    # md5("a") = 0cc175b9…, md5("b") = 92eb5ffe…, md5("c") = 4a8a08f0…
    assert [account_bucket(owner, 16) for owner in "abc"] == [0x0, 0x9, 0x4]
    assert account_bucket("b", 1) == 0


@given(st.text(min_size=1), st.integers(0, 7))
def test_doubling_the_buckets_splits_each_in_two(owner: str, power: int) -> None:
    bucket = account_bucket(owner, 2**power)
    assert 0 <= bucket < 2**power
    assert account_bucket(owner, 2 ** (power + 1)) // 2 == bucket


@given(st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=20))
def test_with_bucket_agrees_with_account_bucket(owners: list[str | None]) -> None:
    arrow = pa.Table.from_pylist([{"account_id": owner} for owner in owners], schema=ACCOUNTS.schema)
    expected = [0 if owner is None else account_bucket(owner, 8) for owner in owners]
    found = with_bucket(ACCOUNTS, arrow, 8)
    assert found["account_bucket"].to_pylist() == expected
    assert found.schema == lake_schema(ACCOUNTS)


def test_a_testimonial_without_account_falls_by_its_brand() -> None:
    found = rows(
        TESTIMONIALS,
        {"testimonial_id": "1", "brand": "Acme"},
        {"testimonial_id": "2", "brand": "Acme", "account_id": "z"},
    )
    assert found["account_bucket"].to_list() == [account_bucket("Acme", 8), account_bucket("z", 8)]


@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        (POSTS, {"post_id": None, "account_id": "a"}, "post_id is missing"),
        (POSTS, {"post_id": "  ", "account_id": "a"}, "post_id is missing"),
        (POSTS, {"post_id": "p", "account_id": None}, "account_id is missing"),
        (POSTS, {"post_id": "p", "account_id": "a", "updated_at": None}, "updated_at is missing"),
        (ACCOUNTS, {"account_id": "a", "network": ""}, "network is missing"),
        (TESTIMONIALS, {"testimonial_id": "t", "rating": 6}, "rating is outside 1 to 5"),
        (TESTIMONIALS, {"testimonial_id": "t", "rating": 0}, "rating is outside 1 to 5"),
    ],
)
def test_unusable_rows_get_a_reason(table, row: dict[str, object], reason: str) -> None:  # type: ignore[no-untyped-def]
    usable, rejects = newest_usable(table, rows(table, row))
    assert usable.is_empty()
    assert rejects[REASON].to_list() == [reason]


def test_a_column_of_the_source_named_reason_travels_along() -> None:
    asked = pl.Series("reason", ["a campaign", None])
    given = rows(POSTS, {"post_id": "p", "account_id": "a"}, {"post_id": None, "account_id": "a"}).with_columns(asked)
    usable, rejects = newest_usable(POSTS, given)
    assert usable["reason"].to_list() == ["a campaign"]
    assert rejects.select("reason", REASON).rows() == [(None, "post_id is missing")]


def test_usable_rows_stay_as_they_are() -> None:
    found = rows(TESTIMONIALS, {"testimonial_id": "t", "rating": None}, {"testimonial_id": "u", "rating": 5})
    usable, rejects = newest_usable(TESTIMONIALS, found)
    assert usable.sort("testimonial_id").equals(found)
    assert rejects.is_empty()


def test_the_newest_usable_version_wins() -> None:
    found = rows(
        POSTS,
        {"post_id": "p", "account_id": "a", "text": "old", "updated_at": NOON - timedelta(1)},
        {"post_id": "p", "account_id": "a", "text": "new"},
        {"post_id": "p", "account_id": None, "text": "newer, unusable", "updated_at": NOON + timedelta(1)},
    )
    usable, rejects = newest_usable(POSTS, found)
    assert usable["text"].to_list() == ["new"]
    assert rejects["text"].to_list() == ["newer, unusable"]


def test_every_table_declares_its_key_and_owner() -> None:
    for table in SOURCE_TABLES.values():
        assert {table.key, *table.owner_columns, *table.required, "updated_at", "deleted_at"} <= set(table.schema.names)
        assert table.key in table.required
