"""The columns of mart/data_quality and mart/spend."""

from assets.marts.columns import BUCKET_LAST, DAY, LONG, PERCENT, REAL, TEXT, as_of, metric
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
