"""Read what testimonials say of a brand: its row of summary/brand_testimonials, and the testimonials that it cites."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from assets.lake import LAKE_ACCOUNTS, LAKE_TESTIMONIALS
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.transforms.summaries.brands import GROUP, NEGATIVE, POSITIVE, current
from resources.delta.table import LakeResource

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
    """A sentence, the testimonials that say it, the newest first, and what it is about."""

    text: str
    testimonials: list[CitedTestimonial]
    theme: str | None


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

    ``campaigns`` are those of the brand, with their ratings, the largest first.
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
        found.filter(name.str.to_lowercase() == _folded(brand)).select(*GROUP, *_FIGURES, *_LISTS, "reason").collect()
    )
    if alike.is_empty():
        return None
    row = alike.sort(name == brand, "testimonials", "brand", descending=[True, True, False]).row(0, named=True)
    of_brand = table.filter(pl.col("brand").eq_missing(pl.lit(row["brand"], pl.String)))
    campaigns = of_brand.filter(pl.col("campaign").is_not_null()).sort(
        "testimonials", "campaign", descending=[True, False]
    )
    said = _said(lake, [row[name] or [] for name in _LISTS])
    by_polarity = {
        polarity: [sentence for of, sentence in said if of == polarity] for polarity in {of for of, _ in said}
    }
    praise, criticism = by_polarity.pop(POSITIVE, []), by_polarity.pop(NEGATIVE, [])
    return BrandSummary(
        BrandRow(*(row[name] for name in (*GROUP, *_FIGURES))),
        praise,
        criticism,
        [sentence for of_polarity in by_polarity.values() for sentence in of_polarity],
        _themes(praise, criticism),
        _rows(campaigns),
        row["reason"],
    )


def _rows(rows: pl.LazyFrame) -> list[BrandRow]:
    return [BrandRow(*row) for row in rows.select(*GROUP, *_FIGURES).collect().iter_rows()]


def _said(lake: LakeResource, lists: Sequence[Sequence[object]]) -> list[tuple[str, CitedSentence]]:
    """Return the polarity and the sentence of each claim that a live testimonial says."""
    types: tuple[pl.DataType, ...] = (pl.String(), pl.List(pl.String), pl.String(), pl.String())
    rows = pl.DataFrame(dict(zip(_LISTS, lists, strict=True)), schema=dict(zip(_LISTS, types, strict=True)))
    cited = rows.select(testimonial_id=pl.col("testimonial_ids").explode()).drop_nulls().unique()
    columns = ["testimonial_id", "rating", "created_at", "campaign", "account_id"]
    live = current(lake.scan(LAKE_TESTIMONIALS), lake.scan(LAKE_ACCOUNTS))
    known = live.join(cited.lazy(), on="testimonial_id", how="semi").select(columns).collect()
    by_id = {row[0]: CitedTestimonial(*row) for row in known.iter_rows()}
    found = []
    for text, ids, polarity, theme in rows.iter_rows():
        testimonials = [by_id[id_] for id_ in ids or () if id_ in by_id]
        if testimonials:
            found.append((polarity, CitedSentence(text, testimonials, theme)))
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
