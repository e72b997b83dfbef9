"""Checks of summary/brand_testimonials and summary/model_testimonials."""

from typing import Any

import polars as pl

from assets.framework.asking import WAITING
from assets.lake import LAKE_ACCOUNTS, LAKE_TESTIMONIALS
from assets.summaries.asking import supported_claims
from assets.summaries.brand_asking import cleaned
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.transforms.claims import Claim
from assets.transforms.summaries.brands import GROUP, current, grouped
from assets.transforms.text.cleaning import clean_lines
from pipelines.checks.declaration import check, count, differences
from pipelines.checks.spend import unpaid
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource
from resources.llm.resource import LlmResource
from resources.spend.resource import SpendResource

_OF_BRANDS = (LAKE_TESTIMONIALS, LAKE_ACCOUNTS, BRAND_TESTIMONIALS)
_LISTS = ("claims", "testimonial_ids", "polarities", "themes")


def _testimonials(lake: LakeResource) -> pl.LazyFrame:
    return current(lake.scan(LAKE_TESTIMONIALS), lake.scan(LAKE_ACCOUNTS))


def _brand_claims(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return (brand, campaign, claims, testimonial_ids, polarities), a row per claim of the rows that are whole."""
    is_whole = pl.all_horizontal(pl.col(name).list.len() == pl.col("claims").list.len() for name in _LISTS)
    rows = rows.filter(is_whole & (pl.col("claims").list.len() > 0))
    return rows.select(*GROUP, *_LISTS[:-1]).explode(_LISTS[:-1])


def _foreign_citations(lake: LakeResource, rows: pl.LazyFrame) -> int:
    """Return the number of citations of testimonials that are not live, or not of the group or of the polarity."""
    said = _brand_claims(rows)
    cited = said.explode("testimonial_ids").select(*GROUP, testimonial_id="testimonial_ids", polarity="polarities")
    due = grouped(_testimonials(lake)).lazy()
    unknown = cited.drop_nulls("testimonial_id").join(
        due, on=cited.collect_schema().names(), how="anti", nulls_equal=True
    )
    return count(unknown) + count(said.filter(pl.col("testimonial_ids").list.len() == 0))


@check(
    "summary/brand_testimonials",
    "citations of testimonials that are not live, of another brand, or of another polarity",
    reads=_OF_BRANDS,
    guards=True,
)
def citations_are_live(lake: LakeResource) -> int:
    """Every sentence cites testimonials: live ones of its brand and campaign, with a rating of its polarity."""
    return _foreign_citations(lake, lake.scan(BRAND_TESTIMONIALS))


@check(
    "summary/brand_testimonials",
    "brands or campaigns without a row, with another number, or without sentences and reason",
    reads=_OF_BRANDS,
    guards=True,
)
def every_brand_has_sentences_or_a_reason(lake: LakeResource) -> int:
    """Every brand and campaign with live testimonials has one row, with their number, and sentences or a reason."""
    rows, lengths = lake.scan(BRAND_TESTIMONIALS), [pl.col(name).list.len() for name in _LISTS]
    is_whole = pl.all_horizontal(length.eq_missing(lengths[0]) for length in lengths)
    odd = rows.filter(~is_whole | ((lengths[0].fill_null(0) > 0) == pl.col("reason").is_not_null()))
    due = grouped(_testimonials(lake)).lazy().group_by(GROUP).agg(testimonials=pl.len().cast(pl.Int64))
    return count(odd) + differences(due, rows)


@check("summary/brand_testimonials", "sentences that their testimonial does not say", reads=_OF_BRANDS, daily=True)
def testimonials_are_quoted(lake: LakeResource) -> int:
    """Every sentence stands in the newest testimonial that it cites, word by word."""
    said = (
        _brand_claims(lake.scan(BRAND_TESTIMONIALS))
        .select("claims", testimonial_id=pl.col("testimonial_ids").list.first())
        .collect()
    )
    asked = _testimonials(lake).join(said.lazy(), on="testimonial_id", how="semi").select("testimonial_id", "text")
    texts = {of: " ".join(clean_lines(text or "")) for of, text in asked.collect(engine="streaming").iter_rows()}
    return sum(sentence not in texts.get(of, "") for sentence, of in said.iter_rows())


_OF_MODEL: dict[str, Any] = {
    "reads": (BRAND_TESTIMONIALS, MODEL_TESTIMONIALS),
    "by_bucket": True,
    "via": (BRAND_TESTIMONIALS,),
}
"""A row of the first changes with its testimonials, in whichever bucket they are."""


@check(
    "summary/model_testimonials",
    "citations of testimonials that are not live, of another brand, or of another polarity",
    **_OF_MODEL,
    guards=True,
)
def claims_cite_live_testimonials(bucket: int, lake: LakeResource) -> int:
    """Every claim of a language model cites live testimonials of its brand, campaign and polarity."""
    return _foreign_citations(lake, lake.scan_cached(MODEL_TESTIMONIALS, bucket))


@check(
    "summary/model_testimonials",
    "rows without claims and without a reason, repeated, or of brands without testimonials",
    **_OF_MODEL,
)
def every_brand_has_claims_or_a_reason(bucket: int, lake: LakeResource) -> int:
    """Every brand and campaign that was sent has claims, or a reason why it has none, and has testimonials."""
    rows, lengths = lake.scan_cached(MODEL_TESTIMONIALS, bucket), [pl.col(name).list.len() for name in _LISTS]
    is_whole = pl.all_horizontal(length.eq_missing(lengths[0]) for length in lengths)
    odd = rows.filter(~is_whole | ((lengths[0].fill_null(0) > 0) == pl.col("reason").is_not_null()))
    foreign = rows.join(lake.scan(BRAND_TESTIMONIALS), on=GROUP, how="anti", nulls_equal=True)
    return count(odd) + count(foreign) + count(rows) - count(rows.select(GROUP).unique())


@check("summary/model_testimonials", "claims that their testimonials do not carry", **_OF_MODEL, daily=True)
def testimonials_carry_the_claims(bucket: int, lake: LakeResource, embedder: EmbedderResource, llm: LlmResource) -> int:
    """Every claim is near a sentence of each testimonial that it cites, and has no number, name or negation it lacks.

    A cosine finds missing evidence; it does not prove that a claim is true.
    """
    columns = ["claims", "testimonial_ids", "language"]
    rows = (
        lake.scan_cached(MODEL_TESTIMONIALS, bucket).filter(pl.col("claims").list.len() > 0).select(columns).collect()
    )
    if rows.is_empty():
        return 0
    cited = rows.select(testimonial_id=pl.col("testimonial_ids").explode().explode()).unique().lazy()
    asked = _testimonials(lake).join(cited, on="testimonial_id", how="semi").select("testimonial_id", "text")
    texts = {of: cleaned(text) for of, text in asked.collect(engine="streaming").iter_rows()}
    wrong = 0
    for claims, ids, language in rows.iter_rows():
        made = [Claim(text, tuple(of)) for text, of in zip(claims, ids or (), strict=False)]
        kept = supported_claims(embedder.model(), made, texts, llm.summary_language or language or "")
        carried = {claim.text: set(claim.post_ids) for claim in kept}
        wrong += sum(carried.get(claim.text) != set(claim.post_ids) for claim in made)
    return wrong


@check(
    "summary/model_testimonials",
    "brands that still wait for a language model",
    reads=(MODEL_TESTIMONIALS,),
    by_bucket=True,
    advises=True,
)
def no_brand_waits(bucket: int, lake: LakeResource) -> int:
    """Every brand that was to be sent has its answer. Warns while some wait; `reason` says why."""
    return count(lake.scan_cached(MODEL_TESTIMONIALS, bucket).filter(state=WAITING))


@check("summary/model_testimonials", "answers that the ledger did not charge, or charged otherwise", daily=True)
def testimonials_spend_matches(lake: LakeResource, spend: SpendResource) -> int:
    """Every answer in the table has its tokens and its USD in the ledger."""
    rows = lake.scan(MODEL_TESTIMONIALS).filter(pl.col("usd").is_not_null()).unique("request_id")
    found = rows.select("request_id", "input_tokens", "output_tokens", "usd").collect()
    return unpaid(spend.ledger, found.iter_rows()) if found.height else 0
