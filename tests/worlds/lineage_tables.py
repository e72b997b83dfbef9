"""The tables of a small world, in the order of the lineage."""

from assets.audience import DEMOGRAPHICS, REPORTS
from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.embeddings import VECTORS
from assets.labels.gold import GOLD
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts.content import CONTENT_BY_BUCKET
from assets.marts.tables import MARTS
from assets.quarantine import QUARANTINE
from assets.summaries.accounts import SUMMARIES
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.verticals.held_out import HELD_OUT
from assets.verticals.scores import SCORES
from assets.verticals.taggers import TAGGERS
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS

TABLES = (
    LAKE_ACCOUNTS,
    LAKE_POSTS,
    LAKE_TESTIMONIALS,
    QUARANTINE,
    DECISIONS,
    DECISION_COUNTS,
    CHUNKS,
    TERMS,
    VECTORS,
    GOLD,
    TAGGERS,
    HELD_OUT,
    REPORTS,
    DEMOGRAPHICS,
    SCORES,
    THRESHOLDS,
    TAGS,
    SUMMARIES,
    BRAND_TESTIMONIALS,
    CONTENT_BY_BUCKET,
    *MARTS,
)
