"""Erasing an account in a world of the lineage's tests.

Belongs here: what the command hands to an erasure, for a world. Not here: tests.
"""

from collections.abc import Callable

from lineage_world import ERASURE_KEY, World

from assets.erasure import Erasing
from resources.environments import bucket_count
from resources.erasure_scan import Scan
from resources.erasures import ErasureResource
from resources.ledger import LedgerResource

INDEX_GROUPS = ("qdrant", "search")
TABLE_GROUPS = ("corpus", "embedding", "label", "quarantine", "vertical", "summary", "mart", "quicksight")


def erasing(world: World, vacuum: Callable[[], int] | None = None) -> Erasing:
    """The parts of an erasure of that world, settled by its own runs."""
    return Erasing(
        s3=world.s3,
        lake=world.lake,
        ledger=LedgerResource(s3=world.s3),
        erasures=erasures(world),
        embedder=world.embedding[0],
        qdrant=world.qdrant,
        scan=Scan(s3=world.s3, folders={"index": world.folder}),
        buckets=range(bucket_count()),
        settle_tables=lambda: _settled(world, *TABLE_GROUPS),
        settle_index=lambda: _settled(world, *INDEX_GROUPS),
        vacuum=vacuum,
    )


def erasures(world: World) -> ErasureResource:
    return ErasureResource(s3=world.s3, key=ERASURE_KEY)


def _settled(world: World, *groups: str) -> None:
    world.run_well(*groups)
