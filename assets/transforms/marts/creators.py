"""Compute mart/creators, mart/creator_days and mart/audiences, for the accounts of one bucket."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from assets.transforms.marts.values import (
    COUNTS,
    counts,
    live,
    measured_posts,
    percent,
    short,
    times,
    total,
    wide_sum,
)

WINDOWS = (30, 90)
"""Days of the windows of growth; the longest is that of posts a week."""
TOP = 10
"""Most hashtags and brands of a creator."""
_AVERAGED = ("likes", "comments", "views")


@dataclass(frozen=True)
class Inputs:
    """The rows of one bucket. ``as_of``: where windows end. ``brands``: (name, pattern) of every brand."""

    accounts: pl.LazyFrame
    posts: pl.LazyFrame
    as_of: datetime
    days: pl.DataFrame
    tags: pl.DataFrame
    languages: pl.DataFrame
    audiences: pl.DataFrame
    summaries: pl.DataFrame
    brands: pl.DataFrame


def creators(given: Inputs) -> pl.DataFrame:
    """Return one row per live account, in the columns of mart/creators.

    ``languages`` has (account_id, post_id, text_language), ``brands`` (account_id, post_id, brand).
    """
    posts = measured_posts(given.posts, given.accounts).collect()
    accounts = live(given.accounts).with_columns(*counts("followers"), *times("created_at")).collect()
    parts = (
        activity(posts, given.as_of),
        followers_before(given.days, given.as_of),
        verticals(given.tags),
        most_common(given.languages, "text_language", "languages"),
        most_common(hashtags(posts), "hashtag", "top_hashtags"),
        most_common(given.brands, "brand", "brands"),
        audience_columns(given.audiences),
        given.summaries.select("account_id", "summary"),
    )
    found = accounts
    for part in parts:
        found = found.join(part, on="account_id", how="left")
    return found.with_columns(
        pl.col("posts").fill_null(0),
        pl.when(pl.col("posts") > 0).then(pl.col("posts_per_week")).otherwise(0.0).alias("posts_per_week"),
        bio=short("bio"),
        summary=short("summary"),
        engagement_by_followers_percent=percent(pl.col("average_engagement"), pl.col("followers")),
        as_of=pl.lit(given.as_of, pl.Datetime("us", "UTC")),
        **{
            f"followers_growth_{days}d_percent": _growth(pl.col("followers"), pl.col(f"followers_{days}d"))
            for days in WINDOWS
        },
    )


def activity(posts: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return per account the metrics that come from its posts. ``posts`` are `measured_posts`."""
    both = pl.col("engagement").is_not_null() & pl.col("views").is_not_null()
    media, dated = pl.col("media_type").str.to_lowercase(), pl.col("posted_at")
    longest = max(WINDOWS)
    windows = {name: value for days in WINDOWS for name, value in _growth_of_engagement(days, as_of).items()}
    found = posts.group_by("account_id").agg(
        posts=pl.len().cast(pl.Int64),
        last_posted_at=dated.max(),
        **{name: total(pl.col(name)) for name in (*COUNTS, "engagement")},
        **{f"average_{name}": pl.col(name).cast(pl.Float64).mean() for name in (*_AVERAGED, "engagement")},
        **{f"median_{name}": pl.col(name).cast(pl.Float64).median() for name in _AVERAGED},
        engagement_by_views_percent=percent(
            wide_sum(pl.col("engagement").filter(both)), wide_sum(pl.col("views").filter(both))
        ),
        video_percent=percent((media == "video").sum(), media.count()),
        posts_per_week=pl.when(dated.count() > 0).then(_within(as_of, longest).sum() / (longest / 7)),
        **windows,
    )
    return found.with_columns(
        **{
            f"engagement_growth_{days}d_percent": _growth(pl.col(f"engagement_{days}d"), pl.col(f"_before_{days}d"))
            for days in WINDOWS
        }
    )


def _growth_of_engagement(days: int, as_of: datetime) -> dict[str, pl.Expr]:
    """Return the engagement of posts of the window and of the window before it."""
    before = _within(as_of - timedelta(days=days), days)
    return {
        f"engagement_{days}d": total(pl.col("engagement").filter(_within(as_of, days))),
        f"_before_{days}d": total(pl.col("engagement").filter(before)),
    }


def _within(end: datetime, days: int) -> pl.Expr:
    """Return whether a post is of the days up to ``end``, which is included."""
    posted = pl.col("posted_at")
    return ((posted > end - timedelta(days=days)) & (posted <= end)).fill_null(value=False)


def _growth(now: pl.Expr, before: pl.Expr) -> pl.Expr:
    return percent(now, before) - 100.0


def followers_before(days: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return per account its followers at the end of the last recorded day of at least 30 and 90 days ago."""
    found = days.select("account_id").unique()
    for length in WINDOWS:
        last = (as_of - timedelta(days=length)).date()
        known = days.filter(pl.col("day") <= last).sort("day").group_by("account_id", maintain_order=True).last()
        found = found.join(
            known.select("account_id", pl.col("followers").alias(f"followers_{length}d")), on="account_id", how="left"
        )
    return found


def creator_days(
    accounts: pl.LazyFrame, posts: pl.LazyFrame, current: pl.DataFrame, as_of: datetime | None
) -> pl.DataFrame:
    """Return the recorded days of live accounts, with the day of ``as_of`` as the lake is now."""
    owners = live(accounts).with_columns(*counts("followers")).collect()
    kept = current.join(owners, on="account_id", how="semi")
    if as_of is None:
        return kept
    sums = (
        measured_posts(posts, accounts)
        .group_by("account_id")
        .agg(posts=pl.len().cast(pl.Int64), **{name: total(pl.col(name)) for name in (*COUNTS, "engagement")})
        .collect()
    )
    today = owners.join(sums, on="account_id", how="left").select(
        pl.lit(as_of.date()).alias("day"),
        "account_id",
        "network",
        "followers",
        pl.col("posts").fill_null(0),
        *COUNTS,
        "engagement",
        pl.lit(as_of, pl.Datetime("us", "UTC")).alias("as_of"),
        "account_bucket",
    )
    return pl.concat([kept.filter(pl.col("day") != as_of.date()).select(today.columns), today])


def verticals(tags: pl.DataFrame) -> pl.DataFrame:
    """Return per account its verticals in one text, and the one with the highest score."""
    of_accounts = tags.filter(pl.col("item_kind") == "account").sort("score", "vertical", descending=[True, False])
    return of_accounts.group_by("account_id").agg(
        verticals=pl.col("vertical").sort().str.join(", "),
        top_vertical=pl.col("vertical").first(),
    )


def hashtags(posts: pl.DataFrame) -> pl.DataFrame:
    """Return (account_id, post_id, hashtag) in lower case, without the sign."""
    tags = posts.select("account_id", "post_id", pl.col("hashtags").alias("hashtag"))
    found = tags.explode("hashtag", empty_as_null=True, keep_nulls=True).with_columns(
        pl.col("hashtag").str.strip_chars().str.strip_chars_start("#＃").str.to_lowercase()
    )
    return found.filter(pl.col("hashtag").str.len_chars() > 0)


def most_common(found: pl.DataFrame, value: str, name: str) -> pl.DataFrame:
    """Return per account its most common values by number of posts, then by name, as one text ``name``."""
    counted = found.drop_nulls(value).group_by("account_id", value).agg(_posts=pl.col("post_id").n_unique())
    best = counted.sort("_posts", value, descending=[True, False]).group_by("account_id", maintain_order=True)
    return best.agg(pl.col(value).head(TOP).str.join(", ").alias(name))


def audiences(reported: pl.DataFrame) -> pl.DataFrame:
    """Return per account and dimension the shares of the newest report, the largest first in ``rank``."""
    key = ["account_id", "dimension"]
    newest = (
        reported.select(*key, "as_of", "source_file")
        .sort("as_of", "source_file", descending=True, nulls_last=True)
        .unique(key, keep="first", maintain_order=True)
    )
    rank = pl.struct(-pl.col("share_percent"), "value").rank("ordinal").over(key).cast(pl.Int64)
    return (
        reported.join(newest, on=[*key, "as_of", "source_file"], how="semi", nulls_equal=True)
        .with_columns(rank=rank, as_of=pl.col("as_of").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
        .sort("account_id", "dimension", "value")
    )


def audience_columns(shares: pl.DataFrame) -> pl.DataFrame:
    """Return per account the top country and age, the shares of two genders, and the date of the newest report."""

    def top(dimension: str) -> tuple[pl.Expr, pl.Expr]:
        is_top = (pl.col("dimension") == dimension) & (pl.col("rank") == 1)
        return pl.col("value").filter(is_top).first(), pl.col("share_percent").filter(is_top).first()

    def share(gender: str) -> pl.Expr:
        is_it = (pl.col("dimension") == "gender") & (pl.col("value") == gender)
        return pl.col("share_percent").filter(is_it).first()

    country, age = top("country"), top("age")
    return shares.group_by("account_id").agg(
        audience_top_country=country[0],
        audience_top_country_percent=country[1],
        audience_top_age=age[0],
        audience_top_age_percent=age[1],
        audience_female_percent=share("female"),
        audience_male_percent=share("male"),
        audience_as_of=pl.col("as_of").max(),
    )


def mentions(posts: pl.LazyFrame, brands: Sequence[str]) -> pl.DataFrame:
    """Return (account_id, post_id, brand): the brands that a live post names in its text or hashtags.

    A brand is a word or several of the text in any case, or a hashtag without the spaces. Names of fewer than three
    characters are not searched: they are words of some language.
    """
    forms = brand_forms(brands)
    empty = pl.DataFrame(schema={"account_id": pl.String, "post_id": pl.String, "brand": pl.String})
    if not forms:
        return empty
    texts = pl.concat_str(
        pl.col("text").fill_null(""), pl.col("hashtags").list.join(" ", ignore_nulls=True).fill_null(""), separator=" "
    ).str.to_lowercase()
    searched = posts.select("account_id", "post_id", _text=texts).collect()
    found = [
        searched.select("account_id", "post_id", brand=pl.col("_text").str.extract_all(pattern))
        for pattern in _patterns(sorted(forms, key=lambda form: (-len(form), form)))
    ]
    named = pl.concat(found).explode("brand", empty_as_null=True, keep_nulls=True).drop_nulls("brand").unique()
    return named.with_columns(pl.col("brand").replace_strict(forms, return_dtype=pl.String)).unique()


def brand_forms(brands: Sequence[str]) -> dict[str, str]:
    """Return a form in lower case → the brand that it means. The first brand by name wins a form of two."""
    forms: dict[str, str] = {}
    for brand in sorted({name.strip() for name in brands}):
        words = brand.lower().split()
        for form in (" ".join(words), "".join(words)):
            if len(form) >= _SHORTEST_BRAND:
                forms.setdefault(form, brand)
    return forms


_SHORTEST_BRAND, _FORMS_A_PATTERN = 3, 500
_SPECIAL = set("\\.+*?()|[]{}^$#&-~/<>=!:,@%'\"`; ")


def _patterns(forms: Sequence[str]) -> list[str]:
    """Return expressions that find any of the forms as whole words, the longest first."""
    literal = ["".join(f"\\x{{{ord(c):x}}}" if c in _SPECIAL else c for c in form) for form in forms]
    parts = [literal[start : start + _FORMS_A_PATTERN] for start in range(0, len(literal), _FORMS_A_PATTERN)]
    return [rf"\b{{start-half}}(?:{'|'.join(part)})\b{{end-half}}" for part in parts]
