"""Every metric equals a plain SQL query over the same rows; what was never measured is null."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from assets.marts.creators import CREATOR_DAYS
from assets.transforms.marts import content, creators, quality, testimonials, values
from assets.transforms.marts.spend import spend_rows
from assets.transforms.source.schema import ACCOUNTS, POSTS, TESTIMONIALS
from tests.worlds import marts_sql
from tests.worlds.mart_rows import NOON, REJECTS, Tables, creators_of, table, world_of, worlds
from tests.worlds.marts_sql import answer, assert_equal


def assert_as_sql(world: Tables) -> None:
    """Compare every mart that is computed from the lake with its query."""
    lazy = {name: rows.lazy() for name, rows in world.items()}
    as_of = values.as_of(lazy["accounts"], lazy["posts"])
    if as_of is not None:
        assert_equal(creators_of(world, as_of), answer(marts_sql.CREATORS, world, as_of), ("account_id",))
        today = creators.creator_days(lazy["accounts"], lazy["posts"], CREATOR_DAYS.empty(), as_of)
        assert_equal(today, answer(marts_sql.CREATOR_DAY, world), ("account_id",))
        assert set(today["day"]) <= {as_of.date()}
    parts = content.by_bucket(lazy["posts"], lazy["accounts"], lazy["tags"]).lazy()
    of_content = answer(marts_sql.CONTENT, world)
    assert_equal(content.content(parts), of_content, content.PLACE)
    assert_equal(testimonials.testimonials_by_brand(lazy["testimonials"]), answer(marts_sql.BRANDS, world), ("brand",))
    tables = {ACCOUNTS: lazy["accounts"], POSTS: lazy["posts"], TESTIMONIALS: lazy["testimonials"]}
    found = quality.data_quality(tables, REJECTS, lambda _: 0, 0)
    place = ("day", "source_table", "column", "reason")
    assert_equal(found, answer(marts_sql.QUALITY, world), place)


@settings(max_examples=12, deadline=None)
@given(worlds())
def test_every_metric_equals_sql(world: Tables) -> None:
    assert_as_sql(world)


def only(rows: pl.DataFrame, **row: object) -> dict[str, Any]:
    """Return the one row with these values."""
    return rows.row(by_predicate=pl.all_horizontal(pl.col(name) == value for name, value in row.items()), named=True)


def test_what_was_never_measured_is_null_and_a_measured_zero_is_0() -> None:
    [never] = creators_of(world_of({"likes": 0, "views": None, "shares": None}), NOON).iter_rows(named=True)
    assert (never["likes"], never["views"], never["shares"], never["average_views"]) == (0, None, None, None)
    assert (never["engagement"], never["engagement_by_followers_percent"], never["posts_per_week"]) == (0, 0.0, None)
    [silent] = creators_of(world_of(), NOON).iter_rows(named=True)
    assert (silent["posts"], silent["likes"], silent["posts_per_week"], silent["video_percent"]) == (0, None, 0.0, None)


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ({"likes": -1}, "likes", quality.NEGATIVE),
        ({"shares": -(2**63)}, "shares", quality.NEGATIVE),
        ({"posted_at": datetime(1970, 1, 1, tzinfo=UTC)}, "posted_at", quality.IMPOSSIBLE),
        ({"posted_at": NOON + timedelta(days=2)}, "posted_at", quality.IMPOSSIBLE),
        ({"posted_at": datetime(9999, 12, 31, tzinfo=UTC)}, "posted_at", quality.IMPOSSIBLE),
        ({"views": None}, "views", quality.MISSING),
        ({"hashtags": None}, "hashtags", quality.MISSING),
    ],
)
def test_a_value_that_does_not_count_is_listed(row: dict[str, Any], column: str, reason: str) -> None:
    world = world_of(row, {"account_id": "a"})
    found = creators_of(world, NOON)
    tables = {ACCOUNTS: world["accounts"].lazy(), POSTS: world["posts"].lazy()}
    listed = only(
        quality.data_quality(tables, REJECTS, lambda _: 0, 0), source_table="posts", column=column, reason=reason
    )
    assert (listed["day"], listed["rows_checked"], listed["as_of"]) == (NOON.date(), 2, NOON)
    assert listed["percent"] == 50.0 * listed["rows"]
    name = {"posted_at": "last_posted_at", "hashtags": "top_hashtags"}.get(column, column)
    assert found[name].to_list() == [None]


def test_a_sum_beyond_64_bits_is_null_and_listed() -> None:
    world = world_of({"likes": 2**62}, {"likes": 2**62, "views": 7})
    assert creators_of(world, NOON).select("likes", "views").row(0) == (None, 7)
    tables = {ACCOUNTS: world["accounts"].lazy(), POSTS: world["posts"].lazy()}
    listed = quality.data_quality(tables, REJECTS, lambda _: 0, 0).filter(pl.col("reason") == quality.BEYOND)
    assert listed.select("source_table", "column", "rows").rows() == [
        ("mart/creators", "likes", 1),
        ("mart/creators", "engagement", 1),
    ]
    parts = content.by_bucket(world["posts"].lazy(), world["accounts"].lazy(), NO_TAGS)
    small = parts.with_columns(likes=pl.lit(1, pl.Int64))
    [both] = content.posts_by_day(pl.concat([parts, small]).lazy()).iter_rows(named=True)
    assert (both["likes"], both["average_likes"], both["views"], both["posts"]) == (None, None, 14, 4), (
        "not the sum of a part"
    )


NO_TAGS = pl.LazyFrame(schema=dict.fromkeys(("item_kind", "item_id", "vertical"), pl.String))


def test_windows_end_at_the_datas_as_of() -> None:
    world = world_of(*({"posted_at": NOON - timedelta(days=days), "likes": 10 + days} for days in (0, 29, 30, 31, 60)))
    [row] = creators_of(world, NOON).iter_rows(named=True)
    assert row["engagement_30d"] == 10 + 39
    assert row["engagement_growth_30d_percent"] == pytest.approx(100 * 49 / (40 + 41) - 100)
    assert row["posts_per_week"] == pytest.approx(5 / (90 / 7))
    [later] = creators_of(world, NOON + timedelta(days=1)).iter_rows(named=True)
    assert later["engagement_30d"] == 10


def test_followers_grow_from_the_last_day_before_the_window() -> None:
    days = pl.DataFrame(
        {
            "account_id": ["a"] * 3,
            "day": [NOON.date() - timedelta(days=n) for n in (100, 31, 29)],
            "followers": [50, 80, 99],
        }
    )
    [row] = creators_of(world_of(days=days), NOON).iter_rows(named=True)
    assert (row["followers_30d"], row["followers_growth_30d_percent"]) == (80, 25.0)
    assert (row["followers_90d"], row["followers_growth_90d_percent"]) == (50, 100.0)


def test_days_grow_daily_and_an_unchanged_day_changes_nothing() -> None:
    def days(current: pl.DataFrame, followers: int, as_of: datetime) -> pl.DataFrame:
        world = world_of({"likes": 1}, followers=followers)
        return creators.creator_days(world["accounts"].lazy(), world["posts"].lazy(), current, as_of)

    first = days(CREATOR_DAYS.empty(), 100, NOON)
    assert days(first, 100, NOON).equals(first)
    second = days(first, 110, NOON + timedelta(days=1))
    assert second.sort("day")["followers"].to_list() == [100, 110]
    corrected = days(second, 120, NOON + timedelta(days=1, hours=3))
    assert corrected.sort("day")["followers"].to_list() == [100, 120]
    gone = corrected.with_columns(account_id=pl.lit("erased"))
    assert "erased" not in days(gone, 100, NOON)["account_id"].to_list()
    assert days(first, 100, NOON)["day"].to_list() == [date(2026, 7, 1)]


def test_brands_are_whole_words_or_hashtags() -> None:
    texts = (
        "I love GREEN  CUP",
        "a Green Cup!",
        "greencups",
        "#greencup",
        "c++ rocks, x",
        "öko? Öko!",
        "a cup",
        "Voltage",
    )
    world = world_of(*({"text": text, "hashtags": ["Volta", None]} for text in texts), {"text": None, "hashtags": None})
    live = world["posts"].lazy()
    found = creators.mentions(live, world["brand_names"]["brand"].to_list()).filter(pl.col("brand") != "Volta")
    assert sorted(found.select("post_id", "brand").rows()) == [
        ("0", "Cup"), ("0", "Green"), ("1", "Green Cup"), ("3", "Green Cup"), ("4", "C++"), ("5", "Öko"), ("6", "Cup"),
    ]  # fmt: skip
    assert creators.mentions(live, []).is_empty()
    assert creators.mentions(live, [f"brand{number}" for number in range(2_000)]).is_empty()


def test_the_newest_report_of_each_dimension_counts() -> None:
    rows = [
        ("a", "gender", "female", 60.0, date(2026, 1, 1), "1"),
        ("a", "gender", "female", 55.5, date(2026, 2, 1), "2"),
        ("a", "gender", "male", 44.5, date(2026, 2, 1), "2"),
        ("a", "country", "DE", 40.0, date(2026, 1, 1), "1"),
        ("a", "country", "AT", 40.0, date(2026, 1, 1), "1"),
    ]
    names = ["account_id", "dimension", "value", "share_percent", "as_of", "source_file"]
    found = creators.audiences(pl.DataFrame(rows, schema=names, orient="row"))
    assert found.select("dimension", "value", "share_percent", "rank").rows() == [
        ("country", "AT", 40.0, 1), ("country", "DE", 40.0, 2),
        ("gender", "female", 55.5, 1), ("gender", "male", 44.5, 2),
    ]  # fmt: skip
    [shown] = creators.audience_columns(found).iter_rows(named=True)
    assert (shown["audience_top_country"], shown["audience_female_percent"], shown["audience_top_age"]) == (
        "AT",
        55.5,
        None,
    )
    assert shown["audience_as_of"] == datetime(2026, 2, 1, tzinfo=UTC)


def test_rejected_rows_are_counted_by_reason_in_the_bucket_of_their_owner() -> None:
    rejects = pl.DataFrame(
        [
            ("posts", "p1", "account_id is missing", '{"updated_at":"2026-07-01T10:00:00+00:00"}', 2),
            ("posts", "p2", "account_id is missing", '{"account_id":"a","updated_at":"2026-07-01 11:00:00"}', 1),
            ("labels", None, "no JSON", "x", 3),
        ],
        schema=REJECTS.schema,
        orient="row",
    )
    world = world_of()
    tables = {ACCOUNTS: world["accounts"].lazy(), POSTS: world["posts"].lazy()}
    first, second = (
        quality.data_quality(tables, rejects, lambda owner: int(owner == "a"), bucket).filter(
            pl.col("column").is_null()
        )
        for bucket in (0, 1)
    )
    assert sorted(first.select("source_table", "rows", "day", "percent").rows()) == [
        ("labels", 3, None, None),
        ("posts", 2, date(2026, 7, 1), None),
    ]
    assert second.select("rows", "account_bucket").rows() == [(1, 1)]


def test_coverage_counts_every_vertical_even_without_tags() -> None:
    tags = pl.DataFrame({"item_kind": ["post", "post", "account"], "vertical": ["food", "food", "food"]})
    thresholds = pl.DataFrame(
        {"item_kind": ["post", "account", "post", "post"], "vertical": ["food"] * 2 + ["pets", "old"]}
    )
    parts = pl.LazyFrame({"vertical": ["food", "all"], "as_of": [NOON, NOON + timedelta(days=1)]})
    found = content.vertical_coverage(tags.lazy(), thresholds, {"food": "Food", "pets": "Pets"}, parts)
    assert sorted(found.select("vertical", "item_kind", "tagged", "title", "as_of").rows()) == [
        ("food", "account", 1, "Food", NOON),
        ("food", "post", 2, "Food", NOON),
        ("old", "post", 0, None, None),  # no longer in the catalogue
        ("pets", "post", 0, "Pets", None),
    ]


def test_testimonials_show_the_handle_of_a_live_account() -> None:
    rows = table(
        TESTIMONIALS,
        [
            {"testimonial_id": "1", "account_id": "a", "text": "x" * 2_500},
            {"testimonial_id": "2", "account_id": "gone"},
            {"testimonial_id": "3", "deleted_at": NOON},
        ],
    )
    owners: list[dict[str, Any]] = [
        {"account_id": "a", "handle": "@a"},
        {"account_id": "gone", "handle": "@g", "deleted_at": NOON},
    ]
    found = testimonials.testimonials(rows.lazy(), table(ACCOUNTS, owners).lazy())
    assert found.select("testimonial_id", "handle").rows() == [("1", "@a"), ("2", None)]
    assert len(found["text"][0]) == values.TEXT_LIMIT


def test_spend_adds_up_cents_exactly() -> None:
    rows = [{"lane": "live", "outcome": "billed", "calls": 1, "input_tokens": 5, "output_tokens": 2, "usd": "0.1"}] * 3
    scopes = ["project", "month:2026-07", "day:2026-07-01", "run:1", "asset:summary/a", "model:m:free"]
    found = spend_rows([{"scopes": scopes, "rows": rows}, {"scopes": scopes, "rows": rows[:1]}])
    assert found.rows() == [
        (date(2026, 7, 1), "summary/a", "m:free", "live", "billed", 4, 20, 8, 0.4, datetime(2026, 7, 1, tzinfo=UTC))
    ]
    assert spend_rows([]).is_empty()
