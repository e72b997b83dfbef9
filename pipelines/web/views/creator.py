"""Creator: who an account is, its numbers over time, summary, verticals, audience and posts."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from assets.audience import DEMOGRAPHICS
from assets.lake import LAKE_POSTS
from assets.marts.creators import CREATORS
from assets.summaries.accounts import SUMMARIES
from assets.transforms.source.schema import account_bucket
from assets.transforms.text.cleaning import clean, with_hashtags
from assets.verticals.tags import TAGS
from pipelines.web.charts import bar_chart
from pipelines.web.pages import CLOCK_AHEAD, render
from pipelines.web.site import Site
from resources.delta.table import LakeResource
from resources.errors import InputError
from resources.settings import bucket_count

LAST_PAGE = 500
_POSTS, _SHARES = 20, 6


@dataclass(frozen=True)
class SummarySentence:
    """A sentence of a summary, and the post that it is from."""

    text: str
    post_id: str


@dataclass(frozen=True)
class CreatorPage:
    """An account: its row of mart/creators, all that is known about it, and a page of its posts, newest first."""

    account: dict[str, Any]
    summary: list[SummarySentence]
    tags: list[dict[str, Any]]
    audience: dict[str, list[dict[str, Any]]]
    posts: list[dict[str, Any]]
    has_more: bool
    charts: list[tuple[str, Any]]


def show(site: Site, request: Request) -> Response:
    """Return the page of an account; 404 if there is none."""
    account_id, page = request.query_params.get("id", ""), request.query_params.get("page", "1")
    if not page.isascii() or not page.isdigit() or not 1 <= int(page[:9]) <= LAST_PAGE:
        raise InputError(f"The page is {page[:20]!r}; it must be a number from 1 to {LAST_PAGE}.")
    found = creator_page(site.lake, account_id, int(page))
    if found is None:
        return render("error.html", 404, title="Not found", sentence=f"No live account has the id {account_id!r}.")
    names = site.shortlists.names()
    title = found.account["display_name"] or found.account["handle"] or account_id
    return render("creator.html", title=title, found=found, creator=found.account, page=int(page), shortlists=names)


def creator_page(lake: LakeResource, account_id: str, page: int) -> CreatorPage | None:
    """Return what is known about a live account; None if there is none."""
    bucket, of_account = account_bucket(account_id, bucket_count()), pl.col("account_id") == account_id
    rows = lake.scan(CREATORS, bucket).filter(of_account).collect()
    if rows.is_empty():
        return None
    posts, first = _posts(lake, bucket, account_id), (page - 1) * _POSTS
    is_tag = (pl.col("item_kind") == "account") & (pl.col("item_id") == account_id)
    tags = lake.scan(TAGS, bucket).filter(is_tag).sort("score", descending=True).collect()
    return CreatorPage(
        rows.drop("account_bucket", strict=False).row(0, named=True),
        _summary(lake, bucket, of_account),
        tags.to_dicts(),
        _audience(lake, bucket, of_account),
        [{**post, "more_hashtags": _more_hashtags(post)} for post in posts.slice(first, _POSTS).to_dicts()],
        posts.height > first + _POSTS,
        _charts(posts),
    )


def _posts(lake: LakeResource, bucket: int, account_id: str) -> pl.DataFrame:
    columns = ["post_id", "posted_at", "text", "hashtags", "likes", "comments", "views", "shares"]
    live = pl.col("deleted_at").is_null() & (pl.col("account_id") == account_id)
    found = lake.scan(LAKE_POSTS, bucket).filter(live).select(columns).collect()
    return found.sort("posted_at", "post_id", descending=True, nulls_last=True)


def _more_hashtags(post: dict[str, Any]) -> str:
    """Return the hashtags that a search matches and that the text lacks."""
    text = clean(post["text"])
    return with_hashtags(text, post["hashtags"])[len(text) :].strip()


def _charts(posts: pl.DataFrame) -> list[tuple[str, Any]]:
    """Return the charts by month, without those to come: posts, and views or else likes of a post in the mean."""
    dated = posts.filter(pl.col("posted_at") <= dt.datetime.now(dt.UTC) + CLOCK_AHEAD)
    if dated.is_empty():
        return []
    by_month = (
        dated.sort("posted_at")
        .group_by_dynamic("posted_at", every="1mo")
        .agg(pl.len().alias("posts"), pl.col("views", "likes").mean())
        .upsample("posted_at", every="1mo")
        .with_columns(pl.col("posted_at").dt.strftime("%Y-%m").alias("month"), pl.col("posts").fill_null(0))
    )
    found = [("Posts by month", bar_chart(list(zip(by_month["month"], by_month["posts"], strict=True)), "posts"))]
    measure = next((name for name in ("views", "likes") if by_month[name].sum()), None)
    if measure:
        means = [round(number or 0.0, 1) for number in by_month[measure]]
        pairs = list(zip(by_month["month"], means, strict=True))
        found.append((f"{measure.capitalize()} of a post, mean by month", bar_chart(pairs, measure)))
    return [(title, chart) for title, chart in found if chart is not None]


def _summary(lake: LakeResource, bucket: int, of_account: pl.Expr) -> list[SummarySentence]:
    rows = lake.scan(SUMMARIES, bucket).filter(of_account).select("summary", "post_ids").collect()
    if rows.is_empty() or not rows["summary"][0]:
        return []
    summary, post_ids = rows.row(0)
    return [SummarySentence(*each) for each in zip(summary.split("\n"), post_ids, strict=False)]


def _audience(lake: LakeResource, bucket: int, of_account: pl.Expr) -> dict[str, list[dict[str, Any]]]:
    """Return dimension → the largest shares of the newest report."""
    rows = lake.scan(DEMOGRAPHICS, bucket).filter(of_account).collect()
    newest = rows.filter(pl.col("as_of") == pl.col("as_of").max().over("dimension")).unique(["dimension", "value"])
    largest = newest.sort("share_percent", "value", descending=[True, False])
    dimensions = sorted(largest["dimension"].unique().to_list())
    return {
        dimension: largest.filter(pl.col("dimension") == dimension).head(_SHARES).to_dicts() for dimension in dimensions
    }
