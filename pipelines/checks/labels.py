"""Checks of label/*."""

import polars as pl

from assets.corpus import CHUNKS
from assets.framework.intake import files_under
from assets.labels.agreement import AGREEMENT, ANNOTATORS
from assets.labels.gold import GOLD, owners
from assets.labels.issues import ISSUES
from assets.labels.pairs import HARD_NEGATIVES, LEARNING_CURVE, TRAINING_PAIRS
from assets.labels.queue import NEXT_TO_LABEL
from assets.labels.votes import LANDING, RULE, VOTES, is_label_file
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.labels.queue import UNCERTAIN
from assets.transforms.labels.votes import agree, judge, newest
from assets.transforms.verticals.scoring import POST, by_vertical
from assets.verticals.scores import SCORES
from assets.verticals.thresholds import THRESHOLDS
from pipelines.checks.declaration import check, count, differences
from pipelines.checks.drops import not_taken_once
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource


@check("label/votes", "files not taken in, or rows repeated or of no file", daily=True)
def files_taken_once(lake: LakeResource, ledger: LedgerResource, s3: S3Resource) -> int:
    """The current version of every label file is read exactly once, and no other file has rows.

    Compares every row with the files in landing/labels/.
    """
    return not_taken_once(lake, ledger, VOTES, files_under(s3, LANDING, is_label_file), RULE)


@check(
    "label/gold",
    "labels of unknown items or verticals, repeated, or with an impossible agreement",
    reads=(GOLD, LAKE_POSTS, LAKE_ACCOUNTS),
    version=lambda: catalogue_hash(load_verticals()),
    guards=True,
)
def items_known(lake: LakeResource) -> int:
    """Every label names a post or account of the lake and a vertical of the catalogue, and occurs once."""
    posts = lake.scan(LAKE_POSTS).select(item_kind=pl.lit("post"), item_id="post_id")
    accounts = lake.scan(LAKE_ACCOUNTS).select(item_kind=pl.lit("account"), item_id="account_id")
    unknown = lake.scan(GOLD).join(pl.concat([posts, accounts]), on=["item_kind", "item_id"], how="anti")
    is_named = pl.col("vertical").is_in([vertical.name for vertical in load_verticals()])
    is_possible = (
        pl.col("agreement").is_between(0.5, 1, "right") & (pl.col("votes") >= 1) & pl.col("is_member").is_not_null()
    )
    odd = lake.scan(GOLD).filter(~is_named | pl.struct(GOLD.key).is_duplicated() | ~is_possible.fill_null(value=False))
    return count(unknown) + count(odd)


@check(
    "label/gold",
    "judgements that the votes do not give",
    reads=(GOLD, VOTES, LAKE_POSTS, LAKE_ACCOUNTS),
    version=lambda: catalogue_hash(load_verticals()),
    guards=True,
)
def judgements_match_votes(lake: LakeResource) -> int:
    """A label stands where more than half of the newest votes agree, and nowhere else."""
    votes = lake.scan(VOTES).collect()
    judged = judge(votes, {vertical.name for vertical in load_verticals()}, owners(lake, votes["item_id"]))
    return differences(agree(judged.filter(pl.col("reason").is_null())).lazy(), lake.scan(GOLD))


@check("label/agreement", "figures that the votes do not give", reads=(VOTES, AGREEMENT))
def agreement_matches_votes(lake: LakeResource) -> int:
    """Items and votes are counted as label/votes has them, and no alpha is above 1."""
    found = lake.scan(AGREEMENT)
    latest = newest(lake.scan(VOTES).collect()).lazy()
    counted = latest.group_by("item_kind", "vertical").agg(
        items=pl.col("item_id").n_unique().cast(pl.Int64), votes=pl.len().cast(pl.Int64)
    )
    return differences(counted, found) + count(found.filter(pl.col("alpha") > 1))


@check("label/annotators", "figures that the votes do not give", reads=(VOTES, ANNOTATORS))
def annotators_match_votes(lake: LakeResource) -> int:
    """Every annotator's labels are counted as label/votes has them, and no share is above 1."""
    found = lake.scan(ANNOTATORS)
    latest = newest(lake.scan(VOTES).collect()).lazy()
    counted = latest.group_by("voter").agg(labels=pl.len().cast(pl.Int64))
    is_odd = (pl.col("agreeing") > pl.col("compared")) | (pl.col("controls_right") > pl.col("controls"))
    return differences(counted, found) + count(found.filter(is_odd))


@check("label/issues", "labels foreign, outdated, or out of order", reads=(GOLD, ISSUES))
def issues_are_of_labels(lake: LakeResource) -> int:
    """Every doubtful label is a current one that no reviewer settled, and the ranks order all by their quality."""
    found = lake.scan(ISSUES)
    open_labels = lake.scan(GOLD).filter(~pl.col("is_reviewed"))
    labels = found.join(open_labels, on=[*ISSUES.key, "account_id", "is_member", "label_version"], how="anti")
    due = pl.when("is_member").then("probability").otherwise(1 - pl.col("probability"))
    is_odd = ((pl.col("quality") - due).abs() > 1e-5) | ~pl.col("probability").is_between(0, 1)
    ordered = found.sort("rank").with_row_index("number", offset=1)
    out_of_order = (pl.col("rank") != pl.col("number")) | (pl.col("quality") < pl.col("quality").shift(1))
    return count(labels) + count(found.filter(is_odd.fill_null(value=True))) + count(ordered.filter(out_of_order))


@check(
    "label/next_to_label",
    "posts foreign, repeated, labelled already, or with another distance",
    reads=(NEXT_TO_LABEL, SCORES, THRESHOLDS, VOTES),
    version=lambda: catalogue_hash(load_verticals()),
    by_bucket=True,
)
def queue_is_of_scores(bucket: int, lake: LakeResource) -> int:
    """Every post to label has a score, as far from the threshold as stated. Nobody labelled an uncertain one."""
    queue = lake.scan_cached(NEXT_TO_LABEL, bucket)
    place = ["item_id", "vertical"]
    of_posts = pl.col("item_kind") == POST
    posts = lake.scan_cached(SCORES, bucket).filter(of_posts)
    scored = by_vertical(posts, [vertical.name for vertical in load_verticals()])
    limits = lake.scan(THRESHOLDS).filter(of_posts).select("vertical", "method", "threshold")
    due = scored.join(limits, on=["vertical", "method"]).select(
        *place, "account_id", due=(pl.col("score") - pl.col("threshold")).abs()
    )
    odd = queue.join(due, on=[*place, "account_id"], how="left").filter(
        ((pl.col("due") - pl.col("distance")).abs() > 1e-5).fill_null(value=True)
    )
    votes = lake.scan(VOTES).filter(of_posts).select(place)
    voted = queue.filter(pl.col("reason") == UNCERTAIN).join(votes, on=place, how="semi")
    return count(odd) + count(voted) + count(queue.filter(pl.struct(place).is_duplicated()))


@check(
    "label/hard_negatives", "posts foreign, repeated, or members", reads=(GOLD, CHUNKS, HARD_NEGATIVES), by_bucket=True
)
def negatives_are_no_members(bucket: int, lake: LakeResource) -> int:
    """Every hard negative is a post of the corpus that nobody labelled as a member; its anchor is a labelled member."""
    found = lake.scan_cached(HARD_NEGATIVES, bucket)
    chunks = lake.scan_cached(CHUNKS, bucket).select(item_id="post_id", account_id="account_id")
    members = lake.scan(GOLD).filter(pl.col("is_member"), pl.col("item_kind") == POST).select("vertical", "item_id")
    foreign = found.join(chunks, on=["item_id", "account_id"], how="anti")
    anchors = members.rename({"item_id": "anchor_id"})
    odd = found.join(anchors, on=["vertical", "anchor_id"], how="anti")
    wrong = found.join(members, on=["vertical", "item_id"], how="semi")
    return (
        count(foreign) + count(odd) + count(wrong) + count(found.filter(pl.struct(HARD_NEGATIVES.key).is_duplicated()))
    )


@check("label/training_pairs", "pairs foreign, untrue or out of order", reads=(GOLD, HARD_NEGATIVES, TRAINING_PAIRS))
def pairs_are_of_labels(lake: LakeResource) -> int:
    """Every pair is of a member and of a post that is one or is none, as the labels and hard negatives say."""
    found = lake.scan(TRAINING_PAIRS)
    labels = lake.scan(GOLD).filter(pl.col("item_kind") == POST).select("vertical", "item_id", "is_member")
    anchors = labels.filter("is_member").select("vertical", anchor_id="item_id")
    mined = lake.scan(HARD_NEGATIVES).select("vertical", other_id="item_id", is_same=pl.lit(value=False))
    others = pl.concat([labels.select("vertical", other_id="item_id", is_same="is_member"), mined]).unique()
    untrue = found.join(others, on=["vertical", "other_id", "is_same"], how="anti")
    ordered = found.sort("rank").with_row_index("number", offset=1).filter(pl.col("rank") != pl.col("number"))
    return count(untrue) + count(found.join(anchors, on=["vertical", "anchor_id"], how="anti")) + count(ordered)


@check("label/learning_curve", "figures impossible or repeated", reads=(LEARNING_CURVE,))
def curve_is_possible(lake: LakeResource) -> int:
    """Every number of labels has one quality from 0 to 1, within its limits."""
    found = lake.scan(LEARNING_CURVE)
    is_possible = pl.col("quality").is_between(0, 1) & pl.col("quality").is_between("low", "high")
    odd = ~is_possible.fill_null(value=False) | pl.col("labels").is_duplicated() | (pl.col("labels") < 1)
    return count(found.filter(odd))
