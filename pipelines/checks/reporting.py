"""Checks of label/*, audience/*, vertical/*, summary/*, mart/*: what people are shown follows from what is known."""

import polars as pl
from dagster import AssetCheckResult, AssetKey, asset_check

from assets.audience import DEMOGRAPHICS, REPORTS, is_report, report_rule
from assets.audience import LANDING as AUDIENCE_LANDING
from assets.corpus import CHUNKS
from assets.labels import GOLD
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts import CREATORS, MARTS, POSTS_BY_DAY, TESTIMONIALS, VERTICAL_COVERAGE
from assets.summaries import SUMMARIES
from assets.transforms.arrivals import outstanding
from assets.transforms.marts import live_posts
from assets.transforms.verticals import by_vertical
from assets.verticals import SCORES, TAGS, THRESHOLDS
from pipelines.checks import verdict
from resources.catalogues import load_verticals
from resources.lake import LakeResource
from resources.ledger import LedgerResource
from resources.s3 import S3Resource


@asset_check(asset=AssetKey(["label", "gold"]), name="items_known")
def items_known(lake: LakeResource) -> AssetCheckResult:
    """Every label is about a post or account of the lake and a vertical of the catalogue, and stands once."""
    gold = lake.scan(GOLD).collect()
    known = pl.concat(
        [
            lake.scan(LAKE_POSTS).select(item_kind=pl.lit("post"), item_id="post_id"),
            lake.scan(LAKE_ACCOUNTS).select(item_kind=pl.lit("account"), item_id="account_id"),
        ]
    ).collect()
    foreign = gold.join(known, on=["item_kind", "item_id"], how="anti").height
    unnamed = gold.filter(~pl.col("vertical").is_in([vertical.name for vertical in load_verticals()])).height
    repeated = gold.height - gold.select(GOLD.key).n_unique()
    return verdict("labels of unknown items or verticals, or repeated", found=foreign + unnamed + repeated)


@asset_check(asset=AssetKey(["audience", "reports"]), name="files_taken_once")
def files_taken_once(lake: LakeResource, ledger: LedgerResource, s3: S3Resource) -> AssetCheckResult:
    """Every dropped file is taken in, as it is now and once, and no row is of another file or version.

    Reads the names of all rows' files and keys: a count that trusts the record would prove nothing.
    """
    listed = [item for item in s3.list_objects(AUDIENCE_LANDING) if is_report(item)]
    fresh, gone = outstanding(listed, ledger.taken(REPORTS.name), report_rule())
    rows = lake.scan(REPORTS).select(*REPORTS.key, "source_etag").collect()
    versions = pl.DataFrame(
        [(item.key, item.etag) for item in listed], {"source_file": pl.String, "source_etag": pl.String}, orient="row"
    )
    foreign = rows.join(versions, on=["source_file", "source_etag"], how="anti").height
    repeated = rows.height - rows.select(REPORTS.key).n_unique()
    return verdict(
        "files not taken in, or rows repeated or of no file", found=len(fresh) + len(gone) + foreign + repeated
    )


@asset_check(asset=AssetKey(["audience", "demographics"]), name="rows_match_reports")
def rows_match_reports(lake: LakeResource) -> AssetCheckResult:
    """Exactly what is reported about the live accounts of the lake, each share within 0 and 100 percent."""
    names, accounts = DEMOGRAPHICS.schema.names, lake.scan(LAKE_ACCOUNTS).filter(pl.col("deleted_at").is_null())
    due = lake.scan(REPORTS).join(accounts, on="account_id", how="semi").select(names).unique().collect()
    held = lake.scan(DEMOGRAPHICS).collect()
    odd = held.filter(~pl.col("share_percent").is_between(0, 100)).height + held.height - held.n_unique()
    differing = due.join(held, on=names, how="anti").height + held.join(due, on=names, how="anti").height
    return verdict(
        "rows missing, foreign, repeated or impossible", found=differing + odd, metadata={"rows": held.height}
    )


@asset_check(asset=AssetKey(["vertical", "scores"]), name="every_item_scored")
def every_item_scored(lake: LakeResource) -> AssetCheckResult:
    """Every post and account of the corpus has one possible score for every vertical."""
    verticals = len(load_verticals())
    furthest = verticals**0.5  # no number lies further from the mean of n numbers than √(n − 1) standard deviations
    is_possible = pl.element().is_between(-furthest, furthest).fill_null(value=False)
    scored = lake.scan(SCORES).select(
        "item_kind",
        "item_id",
        possible=pl.col("scores").list.eval(is_possible).list.sum(),
        n=pl.col("scores").list.len(),
    )
    items = scored.collect()
    is_wrong = (pl.col("n") != verticals) | (pl.col("possible") != verticals)
    wrong = items.filter(is_wrong.fill_null(value=True) | pl.struct("item_kind", "item_id").is_duplicated()).height
    posts = lake.scan(CHUNKS).select(item_id="post_id", item_kind=pl.lit("post")).unique()
    accounts = lake.scan(CHUNKS).select(item_id="account_id", item_kind=pl.lit("account")).unique()
    expected = pl.concat([posts, accounts]).collect()
    unscored = expected.join(items, on=["item_kind", "item_id"], how="anti").height
    foreign = items.join(expected, on=["item_kind", "item_id"], how="anti").height
    return verdict("items unscored, foreign or with impossible scores", found=wrong + unscored + foreign)


@asset_check(asset=AssetKey(["vertical", "thresholds"]), name="every_vertical_has_threshold")
def every_vertical_has_threshold(lake: LakeResource) -> AssetCheckResult:
    """One finite threshold per vertical and item kind."""
    held = lake.scan(THRESHOLDS).filter(pl.col("threshold").is_finite()).collect()
    expected = {(vertical.name, kind) for vertical in load_verticals() for kind in ("post", "account")}
    found = set(held.select("vertical", "item_kind").iter_rows())
    return verdict("thresholds missing, foreign or repeated", found=len(expected ^ found) + held.height - len(found))


@asset_check(asset=AssetKey(["vertical", "tags"]), name="tags_reach_thresholds")
def tags_reach_thresholds(lake: LakeResource) -> AssetCheckResult:
    """Exactly the scores that reach the current threshold are tags."""
    thresholds = lake.scan(THRESHOLDS).select("vertical", "item_kind", "threshold")
    every = by_vertical(lake.scan(SCORES), [vertical.name for vertical in load_verticals()])
    joined = every.join(thresholds, on=["vertical", "item_kind"])
    key = ["item_kind", "item_id", "vertical"]
    due = joined.filter(pl.col("score") >= pl.col("threshold")).select(key).collect()
    tags = lake.scan(TAGS).select(key).collect()
    odd = due.join(tags, on=key, how="anti").height + tags.join(due, on=key, how="anti").height
    return verdict("tags missing or unearned", found=odd, metadata={"tags": tags.height})


@asset_check(asset=AssetKey(["summary", "account_summaries"]), name="evidence_exists")
def evidence_exists(lake: LakeResource) -> AssetCheckResult:
    """Every account of the corpus has a summary, and every post that one cites is its own and in the corpus."""
    chunks = lake.scan(CHUNKS).select("account_id", "post_id").unique().collect()
    summaries = lake.scan(SUMMARIES).select("account_id", "post_ids").collect()
    cited = summaries.explode("post_ids").rename({"post_ids": "post_id"})
    foreign = cited.join(chunks, on=["account_id", "post_id"], how="anti").height
    missing = chunks.select("account_id").unique().join(summaries, on="account_id", how="anti").height
    return verdict("accounts without a summary, or citations of unknown posts", found=foreign + missing)


@asset_check(asset=AssetKey(["mart", "creators"]), name="totals_match_lake")
def creators_match_lake(lake: LakeResource) -> AssetCheckResult:
    """As many creators as live accounts, and as many posts as their live posts."""
    live = lake.scan(LAKE_ACCOUNTS).filter(pl.col("deleted_at").is_null()).select(pl.len()).collect().item()
    posts = live_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS)).select(pl.len()).collect().item()
    mart = lake.scan(CREATORS).select(pl.len(), pl.col("posts").sum()).collect()
    difference = abs(mart["len"].item() - live) + abs(mart["posts"].item() - posts)
    return verdict("creators or posts more or fewer than in the lake", found=difference, metadata={"accounts": live})


@asset_check(asset=AssetKey(["mart", "posts_by_day"]), name="totals_match_lake")
def days_match_lake(lake: LakeResource) -> AssetCheckResult:
    """Posts and likes over all days are those of the live posts."""
    totals = pl.len().alias("posts"), pl.col("likes").sum()
    lakes = live_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS)).select(totals).collect()
    mart = lake.scan(POSTS_BY_DAY).select(pl.col("posts", "likes").sum()).collect()
    difference = sum(abs(mart[name].item() - lakes[name].item()) for name in ("posts", "likes"))
    return verdict("posts or likes more or fewer than in the lake", found=difference)


@asset_check(asset=AssetKey(["mart", "vertical_coverage"]), name="totals_match_tags")
def coverage_matches_tags(lake: LakeResource) -> AssetCheckResult:
    """Tagged items over all verticals are the tags."""
    tags = lake.scan(TAGS).select(pl.len()).collect().item()
    tagged = lake.scan(VERTICAL_COVERAGE).select(pl.col("tagged").sum()).collect().item()
    return verdict("tags more or fewer than the mart counts", found=abs(tags - tagged))


@asset_check(asset=AssetKey(["mart", "testimonials"]), name="totals_match_lake")
def testimonials_match_lake(lake: LakeResource) -> AssetCheckResult:
    """Exactly the live testimonials of the lake."""
    key = "testimonial_id"
    live = lake.scan(LAKE_TESTIMONIALS).filter(pl.col("deleted_at").is_null()).select(key).collect()
    mart = lake.scan(TESTIMONIALS).select(key).collect()
    odd = live.join(mart, on=key, how="anti").height + mart.join(live, on=key, how="anti").height
    return verdict("testimonials missing or foreign", found=odd)


@asset_check(asset=AssetKey(["quicksight", "exports"]), name="csv_matches_marts")
def csv_matches_marts(lake: LakeResource, s3: S3Resource) -> AssetCheckResult:
    """Every CSV file parses to its mart's columns, and together they have the mart's rows. One file at a time."""
    odd = 0
    for spec in MARTS:
        rows = 0
        for item in s3.list_objects(f"quicksight/{spec.name.removeprefix('mart/')}/data/"):
            table = pl.read_csv(s3.get(item.key) or b"", infer_schema=False)
            odd += table.columns != spec.schema.names
            rows += table.height
        odd += abs(rows - sum(contents.rows for contents in lake.contents(spec).values()))
    return verdict("CSV files with other columns, or rows more or fewer than in the marts", found=odd)


CHECKS = [
    items_known,
    files_taken_once,
    rows_match_reports,
    every_item_scored,
    every_vertical_has_threshold,
    tags_reach_thresholds,
    evidence_exists,
    creators_match_lake,
    days_match_lake,
    coverage_matches_tags,
    testimonials_match_lake,
    csv_matches_marts,
]
