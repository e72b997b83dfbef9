"""Every metric of the marts as plain SQL, for DuckDB over the same rows: the second opinion on the polars formulas."""

from collections.abc import Mapping
from datetime import datetime

import duckdb
import polars as pl

COUNTS = ("likes", "comments", "views", "shares")
_POSSIBLE = "{0} >= TIMESTAMPTZ '1990-01-01 00:00:00+00' AND {0} <= updated_at + INTERVAL 1 DAY"


def _possible(name: str) -> str:
    return f"CASE WHEN {_POSSIBLE.format(name)} THEN {name} END"


_SUMS = ", ".join(f"TRY_CAST(sum({name}) AS BIGINT) AS {name}" for name in (*COUNTS, "engagement"))
_RATES = f"""
    {", ".join(f"avg({name}) AS average_{name}" for name in ("likes", "comments", "views"))},
    {", ".join(f"median({name}::DOUBLE) AS median_{name}" for name in ("likes", "comments", "views"))},
    avg(engagement::DOUBLE) AS average_engagement"""
_BY_VIEWS = """
    100 * sum(engagement) FILTER (views IS NOT NULL)::DOUBLE
        / nullif(sum(views) FILTER (engagement IS NOT NULL), 0)::DOUBLE AS engagement_by_views_percent,
    100.0 * count(*) FILTER (lower(media_type) = 'video') / nullif(count(media_type), 0) AS video_percent"""
VIEWS = f"""
CREATE OR REPLACE TEMP VIEW owners AS
    SELECT * REPLACE (CASE WHEN followers >= 0 THEN followers END AS followers, {_possible("created_at")} AS created_at)
    FROM accounts WHERE deleted_at IS NULL;
CREATE OR REPLACE TEMP VIEW honest AS
    SELECT posts.* REPLACE ({", ".join(f"CASE WHEN {name} >= 0 THEN {name} END AS {name}" for name in COUNTS)},
        CASE WHEN posted_at >= TIMESTAMPTZ '1990-01-01 00:00:00+00'
            AND posted_at <= posts.updated_at + INTERVAL 1 DAY THEN posted_at END AS posted_at),
        owners.country
    FROM posts JOIN owners USING (account_id) WHERE posts.deleted_at IS NULL;
CREATE OR REPLACE TEMP VIEW live AS
    SELECT *, CASE WHEN coalesce(likes, comments, shares) IS NOT NULL
        THEN coalesce(likes, 0)::HUGEINT + coalesce(comments, 0) + coalesce(shares, 0) END AS engagement FROM honest;
"""


def _window(days: int, back: int = 0) -> str:
    end = f"TIMESTAMPTZ '{{as_of}}' - INTERVAL {back} DAY"
    return f"posted_at > {end} - INTERVAL {days} DAY AND posted_at <= {end}"


def _of_window(days: int) -> str:
    now = f"TRY_CAST(sum(engagement) FILTER ({_window(days)}) AS BIGINT)"
    before = f"TRY_CAST(sum(engagement) FILTER ({_window(days, days)}) AS BIGINT)"
    growth = f"100 * ({now})::DOUBLE / nullif({before}, 0) - 100"
    return f"{now} AS engagement_{days}d, {growth} AS engagement_growth_{days}d_percent"


def _then(days: int) -> str:
    last = f"(TIMESTAMPTZ '{{as_of}}' - INTERVAL {days} DAY)::DATE"
    return f"""(SELECT d.followers FROM days d WHERE d.account_id = owners.account_id AND d.day <= {last}
        ORDER BY d.day DESC LIMIT 1)"""


def _growth(days: int) -> str:
    return f"{_then(days)} AS followers_{days}d, 100 * followers::DOUBLE / nullif({_then(days)}, 0) - 100 " + (
        f"AS followers_growth_{days}d_percent"
    )


def _top(value: str, source: str) -> str:
    return f"""SELECT account_id, string_agg(v, ', ' ORDER BY n DESC, v) AS listed FROM (
        SELECT account_id, v, count(DISTINCT post_id) AS n,
            row_number() OVER (PARTITION BY account_id ORDER BY count(DISTINCT post_id) DESC, v) AS place
        FROM (SELECT account_id, post_id, {value} AS v FROM {source})
        WHERE v IS NOT NULL AND v <> '' GROUP BY account_id, v)
        WHERE place <= 10 GROUP BY account_id"""


# A capital sigma at the end of a word has a lower case of its own, which DuckDB does not know.
_LOWER_TAG = r"lower(regexp_replace(ltrim(trim(tag), '#'), '(\p{L})Σ($|[^\p{L}])', '\1ς\2', 'g'))"
CREATORS = f"""
WITH activity AS (SELECT account_id, count(*) AS posts, max(posted_at) AS last_posted_at, {_SUMS}, {_RATES}, {
    _BY_VIEWS
},
    CASE WHEN count(posted_at) > 0 THEN count(*) FILTER ({_window(90)}) / (90 / 7.0)::DOUBLE END AS posts_per_week,
    {_of_window(30)}, {_of_window(90)} FROM live GROUP BY account_id),
tags AS ({_top(_LOWER_TAG, "(SELECT account_id, post_id, unnest(hashtags) AS tag FROM live)")}),
named AS ({
    _top(
        "brand",
        '''(SELECT l.account_id, l.post_id, b.brand FROM live l JOIN brand_names b ON regexp_matches(
    ' ' || lower(coalesce(l.text, '') || ' ' || coalesce(array_to_string(l.hashtags, ' '), '')) || ' ',
    '[^a-z0-9_](' || lower(b.brand) || '|' || replace(lower(b.brand), ' ', '') || ')[^a-z0-9_]'))''',
    )
})
SELECT owners.account_id, followers, created_at, coalesce(posts, 0) AS posts, last_posted_at,
    {", ".join(COUNTS)}, engagement, average_likes, average_comments, average_views, median_likes, median_comments,
    median_views, average_engagement, engagement_by_views_percent, video_percent,
    100 * average_engagement / nullif(followers, 0) AS engagement_by_followers_percent,
    CASE WHEN posts IS NULL THEN 0 ELSE posts_per_week END AS posts_per_week,
    engagement_30d, engagement_growth_30d_percent, engagement_90d, engagement_growth_90d_percent,
    {_growth(30)}, {_growth(90)}, tags.listed AS top_hashtags, named.listed AS brands
FROM owners LEFT JOIN activity USING (account_id) LEFT JOIN tags USING (account_id) LEFT JOIN named USING (account_id)
"""
CREATOR_DAY = f"""
SELECT account_id, owners.followers, count(post_id) AS posts, {_SUMS}
FROM owners LEFT JOIN live USING (account_id) GROUP BY ALL
"""
_FITS = """TRY_CAST(sum(engagement) FILTER (views IS NOT NULL) AS BIGINT) IS NOT NULL
    AND TRY_CAST(sum(views) FILTER (engagement IS NOT NULL) AS BIGINT) IS NOT NULL"""
_CONTENT = """
SELECT {period} AS period, {start} AS start, network, country, {vertical} AS vertical, count(*) AS posts,
    count(DISTINCT live.account_id) AS accounts, {sums}, {averages}, {by_views}, max(live.updated_at) AS as_of
FROM live {join} GROUP BY ALL
"""
CONTENT = " UNION ALL ".join(
    _CONTENT.format(
        period=f"'{period}'",
        start=f"date_trunc('{period}', posted_at)::DATE",
        vertical=vertical,
        join=join,
        sums=_SUMS,
        averages=", ".join(
            f"CASE WHEN TRY_CAST(sum({name}) AS BIGINT) IS NOT NULL THEN avg({name}::DOUBLE) END AS average_{name}"
            for name in (*COUNTS, "engagement")
        ),
        by_views=_BY_VIEWS.replace("100 * sum(", f"CASE WHEN {_FITS} THEN 100 * sum(").replace(
            "::DOUBLE AS engagement_by", "::DOUBLE END AS engagement_by"
        ),
    )
    for period in ("day", "week")
    for vertical, join in (
        ("'all'", ""),
        ("tags.vertical", "JOIN tags ON tags.item_id = live.post_id AND tags.item_kind = 'post'"),
    )
)
BRANDS = f"""
WITH t AS (SELECT * REPLACE ({_possible("created_at")} AS created_at) FROM testimonials WHERE deleted_at IS NULL),
    e AS (SELECT max(updated_at) AS latest FROM testimonials)
SELECT brand, count(*) AS testimonials, count(rating) AS rated, avg(rating) AS average_rating,
    count(*) FILTER (created_at > latest - INTERVAL 90 DAY AND created_at <= latest) AS testimonials_90d,
    avg(rating) FILTER (created_at > latest - INTERVAL 90 DAY AND created_at <= latest) AS average_rating_90d,
    avg(rating) FILTER (created_at <= latest - INTERVAL 90 DAY) AS average_rating_before,
    avg(rating) FILTER (created_at > latest - INTERVAL 90 DAY AND created_at <= latest)
        - avg(rating) FILTER (created_at <= latest - INTERVAL 90 DAY) AS rating_change_90d,
    count(DISTINCT account_id) AS creators, max(created_at) AS last_testimonial_at
FROM t, e GROUP BY brand
"""
_FINDING = """SELECT updated_at::DATE AS day, '{0}' AS source_table, '{1}' AS "column", '{2}' AS reason,
    count(*) FILTER ({3}) AS rows, count(*) AS rows_checked FROM {0} WHERE deleted_at IS NULL GROUP BY ALL"""


def _findings() -> str:
    dates = {"accounts": "created_at", "posts": "posted_at", "testimonials": "created_at"}
    optional = {
        "accounts": ("handle", "display_name", "bio", "followers", "country", "language", "created_at"),
        "posts": ("posted_at", "text", "hashtags", "media_url", "media_type", *COUNTS),
        "testimonials": ("brand", "campaign", "account_id", "author_role", "text", "rating", "created_at"),
    }
    counts = {"accounts": ("followers",), "posts": COUNTS, "testimonials": ()}
    parts = [
        _FINDING.format(table, name, "missing", f"{name} IS NULL")
        for table, names in optional.items()
        for name in names
    ]
    parts += [
        _FINDING.format(table, name, "negative count", f"{name} < 0")
        for table, names in counts.items()
        for name in names
    ]
    parts += [
        _FINDING.format(table, name, "impossible date", f"{name} IS NOT NULL AND NOT ({_POSSIBLE.format(name)})")
        for table, name in dates.items()
    ]
    for name in (*COUNTS, "engagement"):
        parts.append(
            f"""SELECT as_of::DATE, 'mart/creators', '{name}', 'sum beyond 64 bits', count(*) FILTER (s > {2**63 - 1}),
            count(*) FROM
            (SELECT account_id, max(updated_at) AS as_of, sum({name})::HUGEINT AS s FROM live GROUP BY ALL)
            GROUP BY ALL"""
        )
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) WHERE rows > 0"


QUALITY = _findings()


def answer(query: str, tables: Mapping[str, pl.DataFrame], as_of: datetime | None = None) -> pl.DataFrame:
    """Return the rows of a query over tables."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        for name, rows in tables.items():
            connection.register(name, rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
        if "posts" in tables:
            connection.execute(VIEWS)
        asked = query.replace("{as_of}", "" if as_of is None else as_of.isoformat())
        return pl.DataFrame(connection.sql(asked).to_arrow_table())


def assert_equal(found: pl.DataFrame, expected: pl.DataFrame, key: tuple[str, ...]) -> None:
    """Equal rows in the columns of ``expected``, numbers but for rounding."""
    for name in expected.columns:
        left = found.sort(key, nulls_last=True)[name].to_list()
        right = expected.sort(key, nulls_last=True)[name].to_list()
        assert len(left) == len(right), name
        for one, other in zip(left, right, strict=True):
            is_number = isinstance(one, float) and isinstance(other, float | int)
            same = abs(one - other) <= 1e-9 * max(1.0, abs(one)) if is_number else one == other
            assert same, (name, one, other)
