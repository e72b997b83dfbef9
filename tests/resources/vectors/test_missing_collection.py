"""Every call of the interface on a collection that is not there."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from resources.vectors.edge.index import EdgeIndex
from resources.vectors.generations import Generation
from resources.vectors.index import VectorIndex
from resources.vectors.server.index import ServerIndex
from resources.vectors.values import CollectionMissingError, SparseVector
from tests.worlds.search import index_config
from tests.worlds.vector_engines import ANY, DIMENSION, id_of, point

CALLS: Mapping[str, Callable[[VectorIndex], object]] = {
    "upsert": lambda index: index.upsert([point(1)]),
    "set_payload": lambda index: index.set_payload([(id_of(1), {})]),
    "delete": lambda index: index.delete([id_of(1)]),
    "delete_orphaned": lambda index: index.delete_orphaned([1]),
    "scroll_hashes": lambda index: list(index.scroll_hashes()),
    "search_dense": lambda index: index.search_dense(point(1).dense, ANY, 1),
    "search_sparse": lambda index: index.search_sparse(point(1).sparse, ANY, 1),
    "search_sparse nothing": lambda index: index.search_sparse(SparseVector.of([], []), ANY, 1),
    "count": lambda index: index.count(),
    "retrieve": lambda index: index.retrieve([id_of(1)]),
    "optimize": lambda index: index.optimize(),
    "generation": lambda index: index.generation(),
    "health": lambda index: index.health(),
    "scroll_points": lambda index: list(index.scroll_points()),
}


@pytest.mark.parametrize("name", CALLS)
def test_without_a_collection_every_call_says_so(name: str, tmp_path: Path) -> None:
    lost = Generation(1, "lost", index_config(DIMENSION))
    for index in (EdgeIndex(tmp_path / lost.name), ServerIndex(QdrantClient(":memory:"), "memory", lost.name)):
        with pytest.raises(CollectionMissingError):
            CALLS[name](index)
