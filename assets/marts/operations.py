"""The columns of mart/data_quality, mart/spend and mart/estimates."""

from assets.marts.columns import BUCKET_LAST, DAY, FLAG, LONG, PERCENT, REAL, TEXT, as_of, metric
from resources.delta.table import TableSpec

DATA_QUALITY = TableSpec.of(
    "mart/data_quality",
    {
        "day": metric(
            DAY,
            "Day (UTC) of the last change of the rows",
            null="a rejected row that states no change",
        ),
        "source_table": metric(
            TEXT, "Table of the rows: accounts, posts, testimonials, a kind of file, or the mart whose sum it is"
        ),
        "column": metric(TEXT, "Column of the value", null="the whole row was rejected"),
        "reason": metric(
            TEXT,
            "Missing; negative count; impossible date (before 1990, or over a day after the row's last change); sum "
            "beyond 64 bits; or why a row was rejected. Impossible values are null in marts and unchanged in the lake",
            sources=("quarantine/rows.reason",),
        ),
        "rows": metric(
            LONG,
            "Number of live rows with the finding, or of rejected rows",
            unit="rows; of a sum, accounts. Add it up over account_bucket",
            sources=("quarantine/rows.copies",),
        ),
        "rows_checked": metric(
            LONG,
            "Number of live rows of that table, day and bucket. Days and buckets without the finding have no row here",
            null="rejected rows",
        ),
        "percent": metric(
            REAL,
            "Share of rows with the finding, in the day and bucket",
            formula="100 × rows / rows_checked; of a whole table, 100 × sum(rows) / its live rows: the rows of "
            "mart/creators, sum(posts) of mart/creators, or the rows of mart/testimonials",
            unit=PERCENT,
            null="rejected rows",
        ),
        "as_of": as_of("Latest change of these rows", null="a rejected row that states no change"),
        **BUCKET_LAST,
    },
    ("day", "source_table", "column", "reason"),
)
SPEND = TableSpec.of(
    "mart/spend",
    {
        "day": metric(DAY, "Day (UTC, by S3's clock) on which the money was reserved"),
        "asset": metric(TEXT, "Asset or command that paid"),
        "model": metric(TEXT, "Model that was paid for"),
        "lane": metric(TEXT, "How it was asked: live or batch"),
        "outcome": metric(
            TEXT,
            "How it ended: billed; refused or absent, which cost nothing; unknown, which counts with its bound",
        ),
        "calls": metric(LONG, "Number of calls", unit="calls"),
        "input_tokens": metric(LONG, "Tokens that were read", unit="tokens"),
        "output_tokens": metric(LONG, "Tokens that were written", unit="tokens"),
        "usd": metric(REAL, "Charged", unit="USD"),
        "as_of": as_of("Start of the latest day with an ended lease of a run; running calls are not in the table"),
    },
    ("day", "asset", "model", "lane", "outcome"),
    partitioned=False,
)
_OF_TOKENS = ("corpus/cippus_text.tokens", "summary/model_summaries.input_tokens")
ESTIMATES = TableSpec.of(
    "mart/estimates",
    {
        "workload": metric(TEXT, "What is sent: the posts that a run sends, or every text of the corpus"),
        "provider": metric(TEXT, "Provider, or self-hosted for a machine that you rent"),
        "model": metric(TEXT, "Model, and the machine if it is self-hosted"),
        "lane": metric(TEXT, "How it is asked: live, batch, or self-hosted"),
        "size": metric(TEXT, "Parameters of the model", null="not published"),
        "mmlu": metric(
            REAL,
            "Published score of the model in the same test for all; higher is better",
            unit="percent",
            null="no score",
        ),
        "usd": metric(
            REAL,
            "Estimated cost of a summary of every account",
            formula="(input_tokens × usd_in_per_million + output_tokens × usd_out_per_million) / 1,000,000",
            unit="USD",
            sources=_OF_TOKENS,
        ),
        "usd_low": metric(REAL, "Lower end of the 90 % interval of usd", unit="USD", sources=_OF_TOKENS),
        "usd_high": metric(REAL, "Upper end of the 90 % interval of usd", unit="USD", sources=_OF_TOKENS),
        "hours": metric(
            REAL,
            "How long it takes: what the provider promises for a batch, else by your rate limit (2 million tokens a "
            "minute where none is set), else by the speed of one machine",
            unit="hours",
        ),
        "context_fits": metric(
            FLAG, "Whether the largest account is within the model's context", null="its context is not known"
        ),
        "is_offered": metric(FLAG, "Whether the provider still serves the model"),
        "accounts": metric(
            LONG,
            "Number of accounts, each with one request",
            unit="accounts",
            sources=("corpus/cippus_text.account_id",),
        ),
        "input_tokens": metric(REAL, "Tokens that are read: texts and instructions", unit="tokens", sources=_OF_TOKENS),
        "output_tokens": metric(REAL, "Tokens that are written", unit="tokens"),
        "tokens_known_by": metric(TEXT, "How the tokens were counted"),
        "usd_in_per_million": metric(REAL, "Price of tokens that are read", unit="USD per million tokens"),
        "usd_out_per_million": metric(REAL, "Price of tokens that are written", unit="USD per million tokens"),
        "other_prices": metric(TEXT, "What other sources state, in / out", null="no other source, or the same price"),
        "price_source": metric(TEXT, "Where the price is from, and when it was read"),
        "as_of": as_of("Latest change of any account or post in the corpus", null="no creator in mart/creators"),
    },
    ("workload", "provider", "model", "lane"),
    partitioned=False,
)
