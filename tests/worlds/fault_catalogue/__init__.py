"""The catalogue of data faults: each with its stage, how it is injected, and the check that must fire."""

from assets.lake import LAKE_TABLES
from tests.worlds import faults as f
from tests.worlds.fault_catalogue.declaration import rows
from tests.worlds.fault_catalogue.drops import dropped_faults
from tests.worlds.fault_catalogue.index import corpus_faults, embedding_faults, qdrant_faults
from tests.worlds.fault_catalogue.lake import lake_faults, raw_faults, written_faults
from tests.worlds.fault_catalogue.served import served_faults
from tests.worlds.fault_catalogue.verticals import vertical_faults
from tests.worlds.mart_faults import MART_FAULTS

CATALOGUE = [
    *(row for name in LAKE_TABLES for of in (raw_faults, lake_faults) for row in of(name)),
    *rows(
        "raw/accounts:mark_is_recent",
        transaction_left_open=f.transaction_left_open,
        clock_set_back=f.clock_set_back,
    ),
    *written_faults(),
    *corpus_faults(),
    *embedding_faults(),
    *vertical_faults(),
    *dropped_faults(),
    *qdrant_faults(),
    *served_faults(),
    *(row for check, faults in MART_FAULTS.items() for row in rows(check, **faults)),
]
