"""Read what testimonials say of a brand: a language model's claims, or their own sentences, and the testimonials."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from assets.lake import LAKE_ACCOUNTS, LAKE_TESTIMONIALS
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.transforms.source.schema import account_bucket
from assets.transforms.summaries.brands import GROUP, NEGATIVE, NEITHER, POSITIVE, current
from resources.delta.table import LakeResource
from resources.settings import bucket_count

_FIGURES = ("testimonials", "rated", "average_rating", "positive_percent", "negative_percent")
_LISTS = ("claims", "testimonial_ids", "polarities", "themes")


@dataclass(frozen=True)
class CitedTestimonial:
    """A live testimonial. ``account_id`` is null if it is about no account, ``rating`` (1 to 5) if none was given."""

    testimonial_id: str
    rating: int | None
    created_at: dt.datetime | None
    campaign: str | None
    account_id: str | None


@dataclass(frozen=True)
class CitedSentence:
    """A sentence, the testimonials that say it, and what it is about.

    ``model`` wrote it; null if the sentence is quoted, and then the newest testimonial is the first.
    """

    text: str
    testimonials: list[CitedTestimonial]
    theme: str | None
    model: str | None = None


@dataclass(frozen=True)
class Theme:
    """A theme, and how many of the cited testimonials praise it, and criticise it."""

    theme: str
    praise: int
    criticism: int


@dataclass(frozen=True)
class BrandRow:
    """The ratings of a brand, or of one of its campaigns. Means and percentages are null without a rating."""

    brand: str | None
    campaign: str | None
    testimonials: int
    rated: int
    average_rating: float | None
    positive_percent: float | None
    negative_percent: float | None


@dataclass(frozen=True)
class BrandSummary:
    """What testimonials say of a brand or campaign. ``reason`` says why there is no sentence.

    A model's claims stand in the place of the quoted sentences of their polarity while the testimonials are those that
    it was sent. ``campaigns`` are those of the brand, with their ratings, the largest first.
    """

    brand: BrandRow
    praise: list[CitedSentence]
    criticism: list[CitedSentence]
    neither: list[CitedSentence]
    themes: list[Theme]
    campaigns: list[BrandRow]
    reason: str | None


def brand_rows(lake: LakeResource, words: str = "", limit: int = 200) -> list[BrandRow]:
    """Return the brands with the most testimonials. With ``words`` they are in the brand's name, in any case."""
    rows = lake.scan(BRAND_TESTIMONIALS).filter(pl.col("campaign").is_null())
    if words:
        rows = rows.filter(pl.col("brand").str.to_lowercase().str.contains(_folded(words), literal=True))
    return _rows(rows.sort("testimonials", "brand", descending=[True, False], nulls_last=True).head(limit))


def brand_summary(lake: LakeResource, brand: str, campaign: str | None = None) -> BrandSummary | None:
    """Return what testimonials say of a brand, or of its campaign; None if there is no such row.

    A name in another case is taken if none is written so. A blank brand stands for testimonials without one. A sentence
    without a live testimonial is left out, as after a deletion that no run has seen yet.
    """
    table = lake.scan(BRAND_TESTIMONIALS)
    found = table.filter(campaign=campaign) if campaign is not None else table.filter(pl.col("campaign").is_null())
    name = pl.col("brand").fill_null("")
    alike = (
        found.filter(name.str.to_lowercase() == _folded(brand))
        .select(*GROUP, *_FIGURES, *_LISTS, "reason", "made_of")
        .collect()
    )
    if alike.is_empty():
        return None
    row = alike.sort(name == brand, "testimonials", "brand", descending=[True, True, False]).row(0, named=True)
    of_brand = table.filter(pl.col("brand").eq_missing(pl.lit(row["brand"], pl.String)))
    campaigns = of_brand.filter(pl.col("campaign").is_not_null()).sort(
        "testimonials", "campaign", descending=[True, False]
    )
    by_polarity = _said(lake, row, None) | _by_model(lake, row)
    praise, criticism = by_polarity.get(POSITIVE, []), by_polarity.get(NEGATIVE, [])
    return BrandSummary(
        BrandRow(*(row[name] for name in (*GROUP, *_FIGURES))),
        praise,
        criticism,
        by_polarity.get(NEITHER, []),
        _themes(praise, criticism),
        _rows(campaigns),
        None if by_polarity else row["reason"],
    )


def _rows(rows: pl.LazyFrame) -> list[BrandRow]:
    return [BrandRow(*row) for row in rows.select(*GROUP, *_FIGURES).collect().iter_rows()]


def _by_model(lake: LakeResource, row: Mapping[str, Any]) -> dict[str, list[CitedSentence]]:
    """Return a model's claims by polarity, if they are of the same testimonials as a row of the extract."""
    bucket = account_bucket(row["brand"] or "", bucket_count())
    own = [pl.col(name).eq_missing(pl.lit(row[name], pl.String)) for name in GROUP]
    found = (
        lake.scan(MODEL_TESTIMONIALS, bucket).filter(*own, made_of=row["made_of"]).select(*_LISTS, "model").collect()
    )
    return _said(lake, found.row(0, named=True), found["model"][0]) if found.height else {}


def _said(lake: LakeResource, row: Mapping[str, Any], model: str | None) -> dict[str, list[CitedSentence]]:
    """Return polarity → the claims of a row that live testimonials say."""
    columns = ["testimonial_id", "rating", "created_at", "campaign", "account_id"]
    cited = pl.Series("testimonial_id", [id_ for ids in row["testimonial_ids"] or () for id_ in ids or ()], pl.String)
    live = current(lake.scan(LAKE_TESTIMONIALS), lake.scan(LAKE_ACCOUNTS))
    known = live.join(pl.LazyFrame([cited.unique()]), on="testimonial_id", how="semi").select(columns).collect()
    by_id = {values[0]: CitedTestimonial(*values) for values in known.iter_rows()}
    found: dict[str, list[CitedSentence]] = {}
    for text, ids, polarity, theme in zip(*(row[name] or () for name in _LISTS), strict=False):
        testimonials = [by_id[id_] for id_ in ids or () if id_ in by_id]
        if testimonials:
            found.setdefault(polarity, []).append(CitedSentence(text, testimonials, theme, model))
    return found


def _themes(praise: Sequence[CitedSentence], criticism: Sequence[CitedSentence]) -> list[Theme]:
    """Return the themes of sentences, those that most of the cited testimonials speak of first."""
    counts = []
    for sentences in (praise, criticism):
        of_theme: dict[str, set[str]] = {}
        for sentence in sentences:
            if sentence.theme is not None:
                of_theme.setdefault(sentence.theme, set()).update(of.testimonial_id for of in sentence.testimonials)
        counts.append({theme: len(ids) for theme, ids in of_theme.items()})
    found = [Theme(theme, *(of.get(theme, 0) for of in counts)) for theme in {**counts[0], **counts[1]}]
    return sorted(found, key=lambda theme: (-theme.praise - theme.criticism, theme.theme))


def _folded(name: str) -> pl.Expr:
    """Return a name in lower case, as polars writes it."""
    return pl.lit(name).str.to_lowercase()
