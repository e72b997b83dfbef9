"""Every Delta table of the lake, and the folders of the bucket that are Cippus' own.

Belongs here: the list, and telling what is ours in a bucket that others use too. Not here: a table's columns (the
stages), what is done with all of them (pipelines/upkeep.py, erasure.py).
"""

from types import ModuleType

from assets import (
    audience,
    corpus,
    embeddings,
    labels,
    lake,
    marts,
    quarantine,
    retrieval_quality,
    summaries,
    verticals,
)
from resources import erasures
from resources.lake import TableSpec
from resources.redshift import STAGING


def tables_of(*modules: ModuleType) -> list[TableSpec]:
    """Every table that stages declare, by name."""
    found = {spec.name: spec for module in modules for spec in vars(module).values() if isinstance(spec, TableSpec)}
    return [found[name] for name in sorted(found)]


TABLES = tables_of(
    lake, corpus, embeddings, labels, quarantine, verticals, summaries, retrieval_quality, marts, audience
)
WRITTEN = ("raw/", "landing/", "ledger/", "quicksight/", STAGING, *(f"{spec.name}/" for spec in TABLES))
"""What the lineage writes to, but for what tells of erasures."""


def is_own(key: str) -> bool:
    """Whether an object is Cippus' own: an export of RDS, or another team's table, is not."""
    return key.startswith((*WRITTEN, erasures.PREFIX))
