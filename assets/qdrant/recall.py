"""recall@10 of a generation, and remembering one that was not enough."""

from collections.abc import Callable
from typing import NamedTuple

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.qdrant.points import PointWriter
from assets.transforms.search.recall import ExactNeighbours
from resources.catalogues import load_verticals
from resources.delta.state import Entry, LedgerResource
from resources.delta.table import WHOLE, fingerprint
from resources.vectors.protocol import VectorIndex
from resources.vectors.values import SearchFilter

LEAST_RECALL = 0.98
RECALL_AT = 10
_BLOCK = 16_384
"""Vectors that are compared with the queries together: 25 MB, and as many cosines a query."""
_STAGE = "qdrant/promotion"


class Recall(NamedTuple):
    """The mean part of the exact top RECALL_AT that was found, over how many queries."""

    found: float
    queries: int

    @property
    def is_enough(self) -> bool:
        """Whether a generation with it may be served."""
        return self.found >= LEAST_RECALL


RecallOf = Callable[[VectorIndex, PointWriter], Recall]


def measured_recall(index: VectorIndex, writer: PointWriter) -> Recall:
    """That of the search as users get it, against exact cosines with the lake's own vectors.

    So a corrupt vector counts too. The queries are the catalogue's descriptions, about 100 sentences that are no point.
    Reads every vector of the lake, block by block.
    """
    queries = writer.embedded(_texts())
    found = [[hit.id for hit in index.search_dense(query, SearchFilter(), RECALL_AT)] for query in queries]
    exact = ExactNeighbours(queries, found, RECALL_AT)
    for bucket in sorted(writer.lake.contents(CHUNKS)):
        for ids, vectors in writer.vectors(bucket, _BLOCK):
            exact.add(ids, vectors)
    return Recall(exact.recall(), len(queries))


def remembering(ledger: LedgerResource) -> RecallOf:
    """``measured_recall``, which is not measured again of what was refused for it and has not changed since.

    A refused generation waits until somebody changes the settings, and would be measured by every run until then.
    """

    def recall(index: VectorIndex, writer: PointWriter) -> Recall:
        state = _state(index, writer)
        known = ledger.entries(_STAGE, [WHOLE]).get(WHOLE)
        if known is not None and known.inputs == state:
            found, queries = known.output.split()
            return Recall(float(found), int(queries))
        measured = measured_recall(index, writer)
        if not measured.is_enough:
            ledger.record(_STAGE, WHOLE, Entry(state, f"{measured.found!r} {measured.queries}"))
        return measured

    return recall


def _state(index: VectorIndex, writer: PointWriter) -> str:
    """A fingerprint of all that the recall depends on: collection, its segments, the lake's vectors, the queries."""
    held = [writer.lake.contents(spec) for spec in (CHUNKS, VECTORS)]
    of_lake = [f"{bucket}:{found.fingerprint}" for one in held for bucket, found in sorted(one.items())]
    return fingerprint([index.generation(), repr(index.health()), writer.model.name, *_texts(), *of_lake])


def _texts() -> list[str]:
    return [text for vertical in load_verticals() for text in vertical.descriptions]
