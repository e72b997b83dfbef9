"""Rows of every table that marts read, invented by hypothesis or by a test, and the mart of creators over them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from assets.marts.creators import CREATOR_DAYS
from assets.transforms.marts import creators, values
from assets.transforms.source.schema import ACCOUNTS, POSTS, TESTIMONIALS, SourceTable, lake_schema
from tests.worlds.marts_sql import COUNTS

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
GREEK = ["#ΛΌΓΟΣ", "ΣΟΦΌΣ", "σοφόσ"]
IDS = ("a", "b", "c")
BRANDS = ("Green Cup", "Volta", "Öko")
QUARANTINE = {"source_table": pl.String, "row_key": pl.String, "reason": pl.String, "row_json": pl.String}
REJECTS = pl.DataFrame(schema={**QUARANTINE, "copies": pl.Int64})
Tables = dict[str, pl.DataFrame]


def table(source: SourceTable, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of a lake table; columns that a row does not state are null."""
    empty = pl.DataFrame(pl.from_arrow(lake_schema(source).empty_table()))
    given = [{**dict.fromkeys(empty.columns), "account_bucket": 0, "updated_at": NOON, **row} for row in rows]
    return pl.DataFrame(given, schema=empty.schema) if given else empty


def times() -> st.SearchStrategy[datetime | None]:
    """Times around the windows' edges, missing ones, impossible ones."""
    near = st.integers(-200, 3).map(lambda days: NOON + timedelta(days=days))
    odd = st.sampled_from(
        [None, NOON - timedelta(days=30), NOON - timedelta(days=90), NOON + timedelta(days=1, microseconds=1),
         datetime(1, 1, 1, tzinfo=UTC), datetime(1989, 12, 31, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
    )  # fmt: skip
    return st.one_of(near, near, odd)


amounts = st.one_of(
    st.none(), st.integers(0, 5), st.integers(0, 10**6), st.sampled_from([-1, -(2**63), 2**62, 2**63 - 1])
)
deleted = st.sampled_from([None, None, None, NOON])
changed = st.sampled_from([NOON, NOON, NOON - timedelta(days=1), NOON - timedelta(days=40, seconds=1)])
accounts = st.lists(
    st.fixed_dictionaries(
        {"account_id": st.sampled_from(IDS), "network": st.sampled_from("xy"), "followers": amounts,
         "updated_at": changed, "country": st.sampled_from([None, "DE"]), "created_at": times(), "deleted_at": deleted}
    ), max_size=3, unique_by=lambda row: row["account_id"],
)  # fmt: skip
posts = st.lists(
    st.fixed_dictionaries(
        {"account_id": st.sampled_from((*IDS, "nobody")), "network": st.sampled_from("xy"), "posted_at": times(),
         "text": st.sampled_from([None, "", "I love green cup!", "greencups volta", "VOLTA"]), "deleted_at": deleted,
         "hashtags": st.sampled_from([None, [], ["#Fun", "fun", None], ["b", "a", "GreenCup", ""], GREEK]),
         "updated_at": changed, "media_type": st.sampled_from([None, "video", "Video", "image"]),
         **dict.fromkeys(COUNTS, amounts)}
    ), max_size=12,
)  # fmt: skip
said = st.lists(
    st.fixed_dictionaries(
        {"brand": st.sampled_from([None, *BRANDS]), "account_id": st.sampled_from([None, *IDS]), "created_at": times(),
         "rating": st.sampled_from([None, 1, 2, 5]), "deleted_at": deleted, "updated_at": changed}
    ), max_size=8,
)  # fmt: skip
history = st.dictionaries(
    st.tuples(st.sampled_from(IDS), st.integers(-120, 0)), st.none() | st.integers(0, 9), max_size=9
)


@st.composite
def worlds(draw: st.DrawFn) -> Tables:
    """Rows of every table that marts read."""
    found = draw(posts)
    for number, post in enumerate(found):
        post["post_id"] = str(number)
    told = draw(said)
    for number, testimonial in enumerate(told):
        testimonial["testimonial_id"] = str(number)
    tags = [
        ("post", str(number), vertical)
        for number in range(len(found))
        for vertical in draw(st.sets(st.sampled_from("pq")))
    ]
    days = [(owner, NOON.date() + timedelta(days=day), followers) for (owner, day), followers in draw(history).items()]
    return {
        "accounts": table(ACCOUNTS, draw(accounts)),
        "posts": table(POSTS, found),
        "testimonials": table(TESTIMONIALS, told),
        "tags": pl.DataFrame(tags, schema=dict.fromkeys(("item_kind", "item_id", "vertical"), pl.String), orient="row"),
        "days": pl.DataFrame(
            days, schema={"account_id": pl.String, "day": pl.Date, "followers": pl.Int64}, orient="row"
        ),
        "brand_names": pl.DataFrame({"brand": ["Green Cup", "Volta"]}),
    }


def creators_of(world: Tables, as_of: datetime) -> pl.DataFrame:
    """mart/creators without what other stages found."""
    nothing: dict[str, Any] = {
        "account_id": pl.String,
        "summary": pl.String,
        "post_id": pl.String,
        "text_language": pl.String,
    }
    shares: dict[str, Any] = {
        "dimension": pl.String,
        "value": pl.String,
        "share_percent": pl.Float64,
        "as_of": pl.Datetime("us", "UTC"),
    }
    score: dict[str, Any] = {"item_kind": pl.String, "vertical": pl.String, "score": pl.Float64}
    live = values.live_posts(world["posts"].lazy(), world["accounts"].lazy())
    return creators.creators(
        creators.Inputs(
            accounts=world["accounts"].lazy(),
            posts=world["posts"].lazy(),
            as_of=as_of,
            days=world["days"],
            tags=pl.DataFrame(schema={**nothing, **score}),
            languages=pl.DataFrame(schema=nothing),
            audiences=pl.DataFrame(schema={**nothing, **shares, "rank": pl.Int64}),
            summaries=pl.DataFrame(schema=nothing),
            brands=creators.mentions(live, world["brand_names"]["brand"].to_list()),
        )
    )


def world_of(*found: dict[str, Any], followers: int | None = 100, days: pl.DataFrame | None = None) -> Tables:
    """One account with posts."""
    numbered = [{"post_id": str(number), "account_id": "a", "network": "x", **row} for number, row in enumerate(found)]
    return {
        "accounts": table(ACCOUNTS, [{"account_id": "a", "network": "x", "followers": followers}]),
        "posts": table(POSTS, numbered),
        "days": CREATOR_DAYS.empty() if days is None else days,
        "brand_names": pl.DataFrame({"brand": [*BRANDS, "C++", "X", "Cup", "Green"]}),
    }
