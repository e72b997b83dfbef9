"""summary/brand_testimonials: what testimonials say, by brand and campaign, in their own sentences."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_TESTIMONIALS
from assets.transforms.summaries.brands import (
    GROUP,
    NO_SENTENCE,
    NO_TEXT,
    TEXTS_READ,
    claims,
    current,
    figures,
    grouped,
    newest,
)
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.models.analyzer import ANALYZER, document_terms, query_terms
from resources.models.languages import LANGUAGE_MODEL, identify

_OF = LAKE_TESTIMONIALS.sources
_IS_LIVE = LAKE_TESTIMONIALS.sources("deleted_at", "account_id") + LAKE_ACCOUNTS.sources("deleted_at")
BRAND_TESTIMONIALS = TableSpec.of(
    "summary/brand_testimonials",
    {
        "brand": LAKE_TESTIMONIALS.copied("brand", "Brand that speaks; null: testimonials without a brand."),
        "campaign": LAKE_TESTIMONIALS.copied(
            "campaign", "Campaign; null: all testimonials of the brand, with and without a campaign."
        ),
        "testimonials": Column(
            pa.int64(),
            "Number of live testimonials about live accounts, or about none.",
            _OF("testimonial_id") + _IS_LIVE,
        ),
        "rated": Column(pa.int64(), "Number of those with a rating.", _OF("rating")),
        "average_rating": Column(pa.float64(), "Mean of the ratings, 1 to 5; null without one.", _OF("rating")),
        "positive_percent": Column(
            pa.float64(), "Ratings of 4 and 5, in percent of all ratings; null without one.", _OF("rating")
        ),
        "negative_percent": Column(
            pa.float64(), "Ratings of 1 and 2, in percent of all ratings; null without one.", _OF("rating")
        ),
        "claims": Column(
            pa.list_(pa.string()),
            f"Sentences of the newest {TEXTS_READ} testimonials of each polarity: up to five of each, best first.",
            _OF("text", "created_at"),
            "text",
        ),
        "testimonial_ids": Column(
            pa.list_(pa.list_(pa.string())),
            "Those of the testimonials that say each sentence, the newest first.",
            _OF("testimonial_id"),
            "id",
        ),
        "polarities": Column(
            pa.list_(pa.string()),
            "Polarity of each sentence, by its testimonials' ratings: `positive` (4, 5), `negative` (1, 2) or "
            "`neither` (3, none).",
            _OF("rating"),
        ),
        "themes": Column(
            pa.list_(pa.string()),
            "What each sentence is about: the word or pair of words that most other testimonials share; null if none.",
            _OF("text"),
            "text",
        ),
        "reason": Column(pa.string(), "Why there is no sentence; null if there is one.", _OF("text")),
        "made_of": Column(
            pa.int64(),
            "Hash of the testimonials. The row is made again when it changes.",
            _OF("testimonial_id", "rating", "created_at", "text"),
        ),
        "recipe": Column(pa.string(), "Hash of the rules. The row is made again when it changes."),
    },
    GROUP,
    partitioned=False,
    text_columns=("claims", "themes"),
)
_RECIPE = "2"
_GROUPS_AT_ONCE = 1_000
"""Their texts are in memory together: up to 3 × TEXTS_READ of each group."""


@asset(
    table=BRAND_TESTIMONIALS,
    code_version=_RECIPE,
    deps=[["lake", "testimonials"], ["lake", "accounts"]],
    description="What testimonials say, in their own sentences. One row per brand and per campaign of it: ratings, the "
    "share of praise and of criticism, and the sentences of each that LexRank puts first, with the testimonials that "
    "say them and a theme. Made again when a testimonial of the brand or campaign changed.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def brand_testimonials(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Quote the testimonials of brands and campaigns that changed. Only their texts are kept in memory.

    The ids, ratings and hashes of all testimonials are read to see which changed.
    """
    recipe = fingerprint([_RECIPE, ANALYZER, LANGUAGE_MODEL])

    def of_table(_whole: int | None, stored: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        testimonials = current(lake.scan(LAKE_TESTIMONIALS), lake.scan(LAKE_ACCOUNTS))
        rows = grouped(testimonials)
        found, on = figures(rows), [*GROUP, "made_of"]
        kept = stored.filter(recipe=recipe).join(found, on=on, how="semi", nulls_equal=True)
        stale = found.join(kept, on=on, how="anti", nulls_equal=True).sort(GROUP)
        tally.counts["groups_quoted"] += stale.height
        columns = BRAND_TESTIMONIALS.schema.names
        made = [kept.select(columns)]
        for groups in stale.iter_slices(_GROUPS_AT_ONCE):
            read = newest(rows, groups)
            asked = testimonials.select("testimonial_id", "text").join(
                read.lazy().select("testimonial_id").unique(), on="testimonial_id", how="semi"
            )
            texts = asked.collect(engine="streaming")
            texts = texts.with_columns(language=pl.Series(identify(texts["text"].to_list()), dtype=pl.String))
            read = read.join(texts, on="testimonial_id", maintain_order="left")
            said = claims(read, document_terms, query_terms)
            made.append(_as_rows(groups, said).with_columns(recipe=pl.lit(recipe)).select(columns))
        return pl.concat(made)

    stage = Stage(BRAND_TESTIMONIALS.name, (LAKE_TESTIMONIALS, LAKE_ACCOUNTS), version=recipe, partitioned=False)
    return refresh_table(context, lake, ledger, stage, BRAND_TESTIMONIALS, of_table)


def _as_rows(groups: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """Return groups with their claims, or with the reason why there is none."""
    lists = ("claims", "testimonial_ids", "polarities", "themes")
    reason = pl.when("has_text").then(pl.lit(NO_SENTENCE)).otherwise(pl.lit(NO_TEXT))
    found = groups.join(said, on=GROUP, how="left", nulls_equal=True, maintain_order="left")
    filled = found.with_columns(pl.col(name).fill_null(pl.lit([], said.schema[name])) for name in lists)
    return filled.with_columns(reason=pl.when(pl.col("claims").list.len() == 0).then(reason))


ASSETS = [brand_testimonials]
