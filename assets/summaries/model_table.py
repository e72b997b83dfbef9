"""The table summary/model_summaries: one row per account that was sent to a language model."""

import pyarrow as pa

from assets.corpus import CHUNKS
from assets.lake import LAKE_POSTS
from resources.delta.table import Column, TableSpec

_SAID = LAKE_POSTS.sources("text")
MODEL_SUMMARIES = TableSpec.of(
    "summary/model_summaries",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "account_id": CHUNKS.copied("account_id"),
        "claims": Column(pa.list_(pa.string()), "Claims that posts support, one sentence each.", _SAID, "text"),
        "post_ids": Column(
            pa.list_(pa.list_(pa.string())),
            "The posts that support each claim, the nearest first.",
            CHUNKS.sources("post_id"),
            "id",
        ),
        "language": Column(pa.string(), "Language of most posts.", CHUNKS.sources("text_language")),
        "state": Column(pa.string(), "State: `waiting` for an answer, or `done`."),
        "reason": Column(pa.string(), "Why there is no claim; null if there is one."),
        "claims_dropped": Column(
            pa.int64(), "Number of claims that were removed, because their posts do not carry them."
        ),
        "request_id": Column(pa.string(), "Hash of what was sent. Nothing is sent again while it is the same.", _SAID),
        "sample": Column(pa.list_(pa.string()), "The posts that were sent.", CHUNKS.sources("post_id"), "id"),
        "made_of_texts": Column(
            pa.list_(pa.int64()),
            "Hashes of the account's texts when it was sent. It is sent again when they change.",
            CHUNKS.sources("content_hash"),
        ),
        "model": Column(pa.string(), "Model that answered; null without an answer."),
        "input_tokens": Column(pa.int64(), "Tokens that were read for the account."),
        "output_tokens": Column(pa.int64(), "Tokens that were written for the account."),
        "usd": Column(pa.string(), "What the answer cost in USD, an exact decimal number."),
        "recipe": Column(
            pa.string(), "Hash of prompt, model and settings. The account is sent again when they change."
        ),
    },
    ("account_id",),
    text_columns=("claims",),
)
