"""The table summary/model_testimonials: one row per brand and campaign that was to be sent to a language model."""

import pyarrow as pa

from assets.lake import LAKE_TESTIMONIALS
from assets.summaries.brands import BRAND_TESTIMONIALS
from resources.delta.table import Column, TableSpec

_SAID = LAKE_TESTIMONIALS.sources("text", "rating")
_IDS = LAKE_TESTIMONIALS.sources("testimonial_id")
MODEL_TESTIMONIALS = TableSpec.of(
    "summary/model_testimonials",
    {
        "account_bucket": Column(pa.int32(), "Bucket of the brand's name.", BRAND_TESTIMONIALS.sources("brand")),
        "brand": BRAND_TESTIMONIALS.copied("brand"),
        "campaign": BRAND_TESTIMONIALS.copied("campaign"),
        "claims": Column(pa.list_(pa.string()), "Claims that testimonials support, one sentence each.", _SAID, "text"),
        "testimonial_ids": Column(
            pa.list_(pa.list_(pa.string())), "The testimonials that support each claim, the nearest first.", _IDS, "id"
        ),
        "polarities": Column(
            pa.list_(pa.string()),
            "Polarity of each claim, by its testimonials' ratings: `positive` (4, 5), `negative` (1, 2) or `neither`.",
            LAKE_TESTIMONIALS.sources("rating"),
        ),
        "themes": Column(
            pa.list_(pa.string()),
            "What each claim is about: the word or pair of words that most of the testimonials sent share.",
            LAKE_TESTIMONIALS.sources("text"),
            "text",
        ),
        "language": Column(pa.string(), "Language of most testimonials that were sent.", _SAID),
        "state": Column(pa.string(), "State: `waiting` for an answer, or `done`."),
        "reason": Column(pa.string(), "Why there is no claim; null if there is one."),
        "claims_dropped": Column(
            pa.int64(), "Number of claims that were removed, because their testimonials do not carry them."
        ),
        "request_id": Column(pa.string(), "Hash of what was sent. Nothing is sent again while it is the same.", _SAID),
        "sample": Column(pa.list_(pa.string()), "The testimonials that were sent.", _IDS, "id"),
        "made_of": BRAND_TESTIMONIALS.copied(
            "made_of", "Hash of the testimonials when they were sent. They are sent again when it changes."
        ),
        "model": Column(pa.string(), "Model that answered; null without an answer."),
        "input_tokens": Column(pa.int64(), "Tokens that were read for the row."),
        "output_tokens": Column(pa.int64(), "Tokens that were written for the row."),
        "usd": Column(pa.string(), "What the answer cost in USD, an exact decimal number."),
        "recipe": Column(pa.string(), "Hash of prompt, model and settings. The row is sent again when they change."),
    },
    ("brand", "campaign"),
    text_columns=("claims", "themes"),
)
