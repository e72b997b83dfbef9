"""Creator: who an account is, its numbers over time, summary, verticals, audience and posts."""

from typing import Any

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from assets.audience import DEMOGRAPHICS
from assets.lake import LAKE_POSTS
from assets.marts.creators import CREATORS
from assets.summaries.accounts import SUMMARIES
from assets.transforms.source.schema import account_bucket
from assets.verticals.tags import TAGS
from pipelines.web.charts import bar_chart
from pipelines.web.pages import render
from pipelines.web.site import Site
from resources.errors import InputError
from resources.settings import bucket_count

_POSTS, _LAST_PAGE, _SHARES = 20, 500, 6


def show(site: Site, request: Request) -> Response:
    """Return the page of an account; 404 if there is none."""
    account_id, page = request.query_params.get("id", ""), request.query_params.get("page", "1")
    if not page.isascii() or not page.isdigit() or not 1 <= int(page[:9]) <= _LAST_PAGE:
        raise InputError(f"The page is {page[:20]!r}; it must be a number from 1 to {_LAST_PAGE}.")
    bucket, of_account = account_bucket(account_id, bucket_count()), pl.col("account_id") == account_id
    rows = site.lake.scan(CREATORS, bucket).filter(of_account).collect()
    if rows.is_empty():
        return render("error.html", 404, title="Not found", sentence=f"No live account has the id {account_id!r}.")
    posts = _posts(site, bucket, account_id)
    first, last = (int(page) - 1) * _POSTS, int(page) * _POSTS
    is_tag = (pl.col("item_kind") == "account") & (pl.col("item_id") == account_id)
    tags = site.lake.scan(TAGS, bucket).filter(is_tag).sort("score", descending=True).collect()
    creator = rows.row(0, named=True)
    return render(
        "creator.html",
        title=creator["display_name"] or creator["handle"] or account_id,
        creator=creator,
        charts=_charts(posts),
        summary=_summary(site, bucket, of_account),
        tags=tags.to_dicts(),
        audience=_audience(site, bucket, of_account),
        posts=posts.slice(first, _POSTS).to_dicts(),
        page=int(page),
        has_more=posts.height > last,
    )


def _posts(site: Site, bucket: int, account_id: str) -> pl.DataFrame:
    columns = ["post_id", "posted_at", "text", "likes", "comments", "views", "shares"]
    live = pl.col("deleted_at").is_null() & (pl.col("account_id") == account_id)
    found = site.lake.scan(LAKE_POSTS, bucket).filter(live).select(columns).collect()
    return found.sort("posted_at", "post_id", descending=True, nulls_last=True)


def _charts(posts: pl.DataFrame) -> list[tuple[str, Any]]:
    """Return the charts by month: posts, and views or else likes of a post in the mean."""
    dated = posts.filter(pl.col("posted_at").is_not_null())
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


def _summary(site: Site, bucket: int, of_account: pl.Expr) -> list[tuple[str, str]]:
    """Return the sentences of the summary, each with the post that it is from."""
    rows = site.lake.scan(SUMMARIES, bucket).filter(of_account).select("summary", "post_ids").collect()
    if rows.is_empty() or not rows["summary"][0]:
        return []
    summary, post_ids = rows.row(0)
    return list(zip(summary.split("\n"), post_ids, strict=False))


def _audience(site: Site, bucket: int, of_account: pl.Expr) -> dict[str, list[dict[str, Any]]]:
    """Return dimension → the largest shares of the newest report."""
    rows = site.lake.scan(DEMOGRAPHICS, bucket).filter(of_account).collect()
    newest = rows.filter(pl.col("as_of") == pl.col("as_of").max().over("dimension")).unique(["dimension", "value"])
    largest = newest.sort("share_percent", "value", descending=[True, False])
    dimensions = sorted(largest["dimension"].unique().to_list())
    return {
        dimension: largest.filter(pl.col("dimension") == dimension).head(_SHARES).to_dicts() for dimension in dimensions
    }
