"""The Dagster resource of the vector index: a Qdrant server, or Qdrant Edge in a folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import ConfigurableResource
from pydantic import Field

from resources.vectors.bm25 import SPARSE_ENCODING
from resources.vectors.generations import SERVING, Generation, Generations
from resources.vectors.index import SearchIndex, VectorIndex
from resources.vectors.values import (
    CollectionMismatchError,
    CollectionMissingError,
    IndexUnavailableError,
    VectorIndexError,
)

if TYPE_CHECKING:
    from resources.vectors.server.health import Cluster
    from resources.vectors.server.repair import ClusterRepair


class QdrantResource(ConfigurableResource):  # type: ignore[type-arg]
    """The vector index: a Qdrant server at ``url``, or else Edge in the folder ``edge_path``.

    ``url`` without a port means 6333, as in Qdrant's own clients. Edge belongs to one process at a time: a call
    waits up to ``lock_timeout_seconds`` for it. ``quantization`` applies to new generations, and so do ``shards``,
    ``replicas`` and ``write_consistency`` of a server, where 0 means the default of its number of nodes. Calls that
    ``url`` does not answer go to the other ``nodes``. Every call raises QdrantAddressError when ``url``, or one of the
    ``nodes``, is not an address.
    """

    url: str = ""
    api_key: str = Field(default="", repr=False)
    edge_path: str = ""
    lock_timeout_seconds: float = 600.0
    quantization: str = "none"
    nodes: str = ""
    shards: int = 0
    replicas: int = 0
    write_consistency: int = 0

    def replica_problems(self, collection: str) -> list[str]:
        """Return a sentence for each replica that is missing or not active, and each shard whose replicas differ."""
        cluster = self.cluster(collection)
        return [*cluster.inactive(), *cluster.missing(), *cluster.unequal()] if cluster else []

    def cluster(self, collection: str = SERVING) -> "Cluster | None":
        """Return the state of the cluster's nodes, or None for the embedded engine.

        Asks the expected ``nodes``, or ``url`` when none are named.
        """
        if not self.url:
            return None
        from resources.vectors.server.health import read_cluster

        return read_cluster(self.url, self.api_key, self._named_nodes(), collection, self.replicas)

    def drop_unused_folder(self) -> bool:
        """Delete the embedded engine's folder if a server is used instead. Return whether there was one."""
        folder = Path(self.edge_path)
        if not self.url or not self.edge_path or not folder.exists():
            return False
        from resources.vectors.edge.generations import EdgeGenerations

        with EdgeGenerations.lock(folder, self.lock_timeout_seconds):
            pass  # a process that still used it has ended
        shutil.rmtree(folder)
        return True

    @contextmanager
    def repair(self) -> Iterator["ClusterRepair"]:
        """Yield what reads and repairs the replicas of a cluster. Raises VectorIndexError for the embedded engine."""
        nodes = self.cluster()
        if nodes is None:
            raise VectorIndexError("The embedded engine is one process and has no nodes: set QDRANT_URL.")
        from resources.vectors.server.repair import connect

        with connect(self.url, self.api_key, self._named_nodes(), nodes) as found:
            yield found

    def _named_nodes(self) -> list[str]:
        return [address.strip() for address in self.nodes.split(",") if address.strip()]

    @contextmanager
    def open(self, model: str | None = None) -> Iterator[VectorIndex]:
        """Yield the served generation, for one operation. Raise IndexUnavailableError when it is not reachable.

        Raises CollectionMissingError before the first promotion. With ``model``, raises CollectionMismatchError when
        the generation has vectors of another model, or terms of another sparse encoding.
        """
        with self.generations() as generations:
            yield generations.open(_fitting(generations.serving(), model))

    @contextmanager
    def reader(self, model: str | None = None) -> Iterator[SearchIndex]:
        """Yield what is served, to search in; raise as ``open`` does.

        Any number of processes read at a time, also while a run writes. Edge's readers have a copy of what was promoted
        (resources/vectors/published/), and wait for no lock. Of a collection that has no copy yet, made by an older
        version, the first reader makes it.
        """
        if self.url or not self.edge_path:
            with self.open(model) as index:
                yield index
            return
        from resources.vectors.edge.generations import EdgeGenerations
        from resources.vectors.published.copy import readers_copy

        folder = Path(self.edge_path)
        copy = readers_copy(folder)
        opened = copy.open()
        if opened is None and EdgeGenerations(folder).serving() is not None:
            with self.generations():
                pass
            opened = copy.open()
        generation, published = opened or (None, None)
        _fitting(generation, model)
        if published is not None:
            yield published

    @contextmanager
    def generations(self) -> Iterator[Generations]:
        """Yield all generations, for one operation. Raise IndexUnavailableError when locked or not reachable."""
        # Imported here: loading definitions must not pay 1.6 s for the engine that it does not use.
        if self.url:
            from resources.vectors.server.generations import ServerGenerations
            from resources.vectors.server.layout import Layout

            layout = Layout(self.shards, self.replicas, self.write_consistency)
            with ServerGenerations.connect(self.url, self.api_key, nodes=self._named_nodes(), layout=layout) as server:
                yield server
        elif self.edge_path:
            from resources.vectors.edge.generations import EdgeGenerations

            with EdgeGenerations.lock(Path(self.edge_path), self.lock_timeout_seconds) as edge:
                yield edge
        else:
            raise IndexUnavailableError("There is no vector index: set QDRANT_URL.")


def _fitting(serving: Generation | None, model: str | None) -> Generation:
    """Return the generation that is served, if there is one and searches with ``model`` can use it."""
    if serving is None:
        raise CollectionMissingError(
            "No collection is served: run the lineage (`cippus run`). If it has run, its collection is lost "
            "and a run builds it again, or the gate refused it and qdrant/promotion says why."
        )
    built_with, used = (serving.index_config.model, serving.index_config.sparse), (model, SPARSE_ENCODING)
    if model is not None and built_with != used:
        raise CollectionMismatchError(
            f"{serving.name} is served and was built with {' and '.join(built_with)}; searches use {model} and "
            f"{SPARSE_ENCODING}. Run the lineage, which builds a generation for them, or set the encoder back."
        )
    return serving
