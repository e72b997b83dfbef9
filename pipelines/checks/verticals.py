"""Checks of vertical/*."""

from itertools import product

import polars as pl

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, has_vector
from assets.framework.asking import WAITING
from assets.labels.gold import GOLD
from assets.transforms.verticals.roster import SHIP
from assets.transforms.verticals.rosters import KINDS
from assets.transforms.verticals.scoring import ACCOUNT, POST, by_vertical
from assets.transforms.verticals.taggers.cascade import CASCADE
from assets.transforms.verticals.taggers.zero_shot import ZERO_SHOT
from assets.verticals.cascade import has_answers
from assets.verticals.held_out import HELD_OUT
from assets.verticals.model_tags import MODEL_TAGS
from assets.verticals.quality import METHODS, MISTAKES, QUALITY
from assets.verticals.roster import HISTORY, ROSTER
from assets.verticals.scores import SCORES, scoring_methods
from assets.verticals.taggers import TAGGERS, described, fitted_taggers
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from pipelines.checks.declaration import check, count, differences
from pipelines.checks.spend import unpaid
from resources.catalogues import catalogue_hash, load_verticals, roster_hash
from resources.delta.table import LakeResource
from resources.errors import InputError
from resources.llm.embedder import EmbedderResource
from resources.spend.resource import SpendResource

_ROUNDING = 1e-9


def _catalogue() -> str:
    return catalogue_hash(load_verticals())


def _roster() -> str:
    return roster_hash(load_verticals())


def _scoring(embedder: EmbedderResource) -> str:
    return f"{_catalogue()} {embedder.model().name}"


@check(
    "vertical/scores",
    "items not scored, foreign, repeated or with impossible scores",
    reads=(CHUNKS, VECTORS, TAGGERS, MODEL_TAGS, THRESHOLDS, SCORES),
    version=_scoring,
    by_bucket=True,
    guards=True,
)
def every_item_scored(bucket: int, lake: LakeResource, embedder: EmbedderResource) -> int:
    """Every post and account of the corpus has one row per method, with a probability or null for every vertical.

    Except a post that the embedding model cannot read, and an account with no other posts.
    """
    verticals = len(load_verticals())
    is_possible = pl.element().is_between(0, 1).fill_null(value=True)  # null is an abstention
    possible, scores = pl.col("scores").list.eval(is_possible).list.sum(), pl.col("scores").list.len()
    wrong = lake.scan_cached(SCORES, bucket).filter(~(possible.eq_missing(verticals) & scores.eq_missing(verticals)))
    methods = pl.LazyFrame({"method": [*scoring_methods(lake), *([CASCADE] if has_answers(lake) else [])]})
    vectors = lake.scan_cached(VECTORS, bucket).filter(pl.col("model") == embedder.model().name)
    unreadable = vectors.filter(~has_vector()).select("content_hash")
    chunks = lake.scan_cached(CHUNKS, bucket).join(unreadable, on="content_hash", how="anti")
    posts = chunks.select(item_kind=pl.lit(POST), item_id="post_id")
    accounts = chunks.select(item_kind=pl.lit(ACCOUNT), item_id="account_id")
    expected = pl.concat([posts, accounts]).unique().join(methods, how="cross")
    return count(wrong) + differences(expected, lake.scan_cached(SCORES, bucket))


@check(
    "vertical/model_tags",
    "posts repeated, foreign or of another text, with unknown verticals, or without answer and reason",
    reads=(CHUNKS, MODEL_TAGS),
    version=_catalogue,
    by_bucket=True,
    guards=True,
)
def every_row_has_an_answer_or_a_reason(bucket: int, lake: LakeResource) -> int:
    """Every post that was sent has verticals of the catalogue, or a reason why not, and its text is the corpus'."""
    rows = lake.scan_cached(MODEL_TAGS, bucket)
    names = [vertical.name for vertical in load_verticals()]
    is_known = pl.col("verticals").list.eval(pl.element().is_in(names)).list.all().fill_null(value=True)
    odd = ~is_known | (pl.col("verticals").is_null() == pl.col("reason").is_null())
    foreign = rows.join(lake.scan_cached(CHUNKS, bucket), on=["account_id", "post_id", "text_hash"], how="anti")
    return count(rows.filter(odd | pl.col("post_id").is_duplicated())) + count(foreign)


@check(
    "vertical/model_tags",
    "posts that still wait for a language model",
    name="nothing_waits",
    reads=(MODEL_TAGS,),
    by_bucket=True,
    advises=True,
)
def no_post_waits(bucket: int, lake: LakeResource) -> int:
    """Every post that was to be sent has its answer. Warns while some wait; `reason` says why."""
    return count(lake.scan_cached(MODEL_TAGS, bucket).filter(state=WAITING))


@check(
    "vertical/model_tags",
    "answers that the ledger did not charge, or charged otherwise",
    name="spend_matches",
    daily=True,
)
def tags_are_charged(lake: LakeResource, spend: SpendResource) -> int:
    """Every answer in the table has its tokens and its USD in the ledger."""
    rows = lake.scan(MODEL_TAGS).filter(pl.col("usd").is_not_null()).unique("request_id")
    found = rows.select("request_id", "input_tokens", "output_tokens", "usd").collect()
    return unpaid(spend.ledger, found.iter_rows()) if found.height else 0


@check("vertical/taggers", "taggers that cannot tag", reads=(TAGGERS,), version=_catalogue, guards=True)
def taggers_usable(lake: LakeResource) -> int:
    """Parameters and descriptions can be read, and are for the catalogue's verticals. Zero-shot is always there."""
    try:
        found, _ = fitted_taggers(lake), described(lake)
    except (InputError, ValueError, KeyError, OSError):
        return 1
    verticals = len(load_verticals())
    return (ZERO_SHOT not in found) + sum(len(tagger.covers) != verticals for tagger, _ in found.values())


@check(
    "vertical/held_out",
    "rows without label, repeated, or with an impossible probability",
    reads=(GOLD, HELD_OUT),
    guards=True,
)
def held_out_are_labels(lake: LakeResource) -> int:
    """Every row has its label's value, and a probability or null. Labels of posts outside the corpus have no row."""
    rows = lake.scan(HELD_OUT)
    labels = lake.scan(GOLD).select("item_kind", "item_id", "account_id", "vertical", "is_member")
    foreign = rows.join(labels, on=labels.collect_schema().names(), how="anti")
    is_possible = pl.col("probability").is_between(0, 1).fill_null(value=True)
    return count(foreign) + count(rows.filter(~is_possible | pl.struct(HELD_OUT.key).is_duplicated()))


@check(
    "vertical/thresholds",
    "thresholds missing, foreign or repeated",
    reads=(THRESHOLDS,),
    version=_catalogue,
    guards=True,
)
def every_vertical_has_threshold(lake: LakeResource) -> int:
    """Every vertical has one finite threshold per kind of item."""
    expected = product([vertical.name for vertical in load_verticals()], [POST, ACCOUNT])
    schema = {"vertical": pl.String, "item_kind": pl.String}
    finite = lake.scan(THRESHOLDS).filter(pl.col("threshold").is_finite())
    return differences(pl.LazyFrame(list(expected), schema=schema, orient="row"), finite)


@check(
    "vertical/quality",
    "figures that their counts do not give, or outside their interval",
    reads=(QUALITY,),
)
def figures_match_counts(lake: LakeResource) -> int:
    """Precision and recall are the shares of their counts, F1 is their harmonic mean, and intervals hold them."""
    right, called, members = (pl.col(name) for name in ("right", "called", "members"))
    due = {"precision": right / called, "recall": right / members, "f1": 2 * right / (called + members)}
    wrong = [
        ((pl.col(name) - value).abs() > _ROUNDING)
        | ~pl.col(name).is_between(pl.col(f"{name}_low") - _ROUNDING, pl.col(f"{name}_high") + _ROUNDING)
        for name, value in due.items()
        if name != "f1"  # the middle of a bootstrap may lie beside the estimate
    ]
    wrong.append((pl.col("f1") - due["f1"]).abs() > _ROUNDING)
    impossible = (right < 0) | (right > pl.min_horizontal(called, members))
    return count(lake.scan(QUALITY).filter(pl.any_horizontal(*wrong, impossible)))


@check("vertical/methods", "impossible figures", reads=(METHODS,))
def method_figures_possible(lake: LakeResource) -> int:
    """F1 and its interval lie from 0 to 1, in order."""
    names = ("macro_f1", "micro_f1")
    possible = [
        pl.col(f"{name}_low").is_between(0, 1)
        & pl.col(f"{name}_high").is_between(pl.col(f"{name}_low"), 1)
        & pl.col(name).is_between(0, 1)
        for name in names
    ]
    return count(lake.scan(METHODS).filter(~pl.all_horizontal(possible)))


@check("vertical/mistakes", "rows that are not in label/gold, or have another label", reads=(GOLD, MISTAKES))
def mistakes_are_labelled(lake: LakeResource) -> int:
    """Every mistake is an item of label/gold, with its label."""
    key = ["item_kind", "item_id", "vertical", "is_member"]
    return count(lake.scan(MISTAKES).join(lake.scan(GOLD), on=key, how="anti"))


@check(
    "vertical/roster",
    "verticals not decided, decided twice, or shipped without being earned or overridden",
    reads=(ROSTER,),
    version=_roster,
    guards=True,
)
def every_vertical_decided(lake: LakeResource) -> int:
    """Every vertical has one decision per kind of item: a person's in the catalogue, else what its labels earned."""
    said = {found.name: found.override.decision for found in load_verticals() if found.override is not None}
    expected = [(kind, found.name, said.get(found.name)) for kind in KINDS for found in load_verticals()]
    schema = {"item_kind": pl.String, "vertical": pl.String, "_said": pl.String}
    due = pl.LazyFrame(expected, schema=schema, orient="row")
    rows = lake.scan(ROSTER).join(due, on=["item_kind", "vertical"], how="left")
    wrong = rows.filter(~pl.col("status").eq_missing(pl.coalesce("_said", "earned")))
    return count(wrong) + differences(due.drop("_said"), lake.scan(ROSTER))


@check("vertical/roster_history", "verticals whose last row is not the roster's", reads=(ROSTER, HISTORY))
def history_ends_with_the_roster(lake: LakeResource) -> int:
    """The last row of every vertical of the roster says what the roster says."""
    key = ["item_kind", "vertical"]
    last = lake.scan(HISTORY).filter(pl.col("decided_at") == pl.col("decided_at").max().over(key))
    same = [*key, "status", "earned", "label_version"]
    return count(lake.scan(ROSTER).join(last, on=same, how="anti"))


@check(
    "vertical/tags",
    "tags missing, below the threshold, or of a vertical that does not ship",
    reads=(SCORES, THRESHOLDS, ROSTER, TAGS),
    version=_catalogue,
    by_bucket=True,
    guards=True,
)
def tags_reach_thresholds(bucket: int, lake: LakeResource) -> int:
    """An item is tagged if and only if its vertical ships and its score reaches the current threshold."""
    scores = by_vertical(lake.scan_cached(SCORES, bucket), [vertical.name for vertical in load_verticals()])
    shipped = lake.scan(ROSTER).filter(status=SHIP).select("vertical", "item_kind")
    joined = scores.join(lake.scan(THRESHOLDS), on=["vertical", "item_kind", "method"])
    joined = joined.join(shipped, on=["vertical", "item_kind"], how="semi")
    due = joined.filter(pl.col("score") >= pl.col("threshold"))
    return differences(due.select("item_kind", "item_id", "vertical", "score"), lake.scan_cached(TAGS, bucket))
