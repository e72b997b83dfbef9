"""The Dagster resource of the vector index, which picks the engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import ConfigurableResource
from pydantic import Field

from resources.vectors.bm25 import SPARSE_ENCODING
from resources.vectors.generations import SERVING, Generations
from resources.vectors.protocol import VectorIndex
from resources.vectors.values import CollectionMismatchError, CollectionMissingError, IndexUnavailableError

if TYPE_CHECKING:
    from resources.vectors.server.health import Cluster


class QdrantResource(ConfigurableResource):  # type: ignore[type-arg]
    """The vector index of this environment: a Qdrant server at ``url``, or else Edge in the folder ``edge_path``.

    ``url`` without a port means 6333, as in Qdrant's own clients. Edge belongs to one process at a time: both calls
    wait for it up to ``lock_timeout_seconds``. ``quantization`` is that of new generations. Every call raises
    QdrantAddressError when ``url``, or one of the ``nodes``, is no address.
    """

    url: str = ""
    api_key: str = Field(default="", repr=False)
    edge_path: str = ""
    lock_timeout_seconds: float = 600.0
    quantization: str = "none"
    nodes: str = ""

    def unequal_replicas(self, collection: str) -> list[str]:
        """A sentence for each shard of a collection whose replicas hold different numbers of points."""
        cluster = self.cluster(collection)
        return cluster.unequal() if cluster else []

    def cluster(self, collection: str = SERVING) -> "Cluster | None":
        """The nodes of the cluster as they are now, or None for the embedded engine; ``nodes`` are those expected.

        Raises VectorIndexError when there is no such collection, or the server does not answer.
        """
        if not self.url:
            return None
        from resources.vectors.server.health import read_cluster

        expected = [address.strip() for address in self.nodes.split(",") if address.strip()]
        return read_cluster(self.url, self.api_key, expected, collection)

    @contextmanager
    def open(self, model: str | None = None) -> Iterator[VectorIndex]:
        """The generation that is served, for one operation. Raises IndexUnavailableError when it is not reachable.

        Raises CollectionMissingError before the first promotion, and CollectionMismatchError when its vectors are
        not those of ``model``, or its terms not of today's encoding: a query finds nothing sensible among others.
        """
        with self.generations() as generations:
            serving = generations.serving()
            if serving is None:
                message = (
                    "No collection is served: run the lineage (`cippus run`). If it has run, its collection is lost "
                    "and is built anew, or the gate refused it, and qdrant/promotion says why."
                )
                raise CollectionMissingError(message)
            if model is not None and serving.recipe.sparse != SPARSE_ENCODING:
                message = (
                    f"{serving.name} is served and holds terms of {serving.recipe.sparse}; queries are of "
                    f"{SPARSE_ENCODING}: run the lineage, which builds a generation for it."
                )
                raise CollectionMismatchError(message)
            if model is not None and serving.recipe.model != model:
                message = (
                    f"{serving.name} is served and holds vectors of {serving.recipe.model}; the encoder is {model}: "
                    "set it back, or run the lineage, which builds a generation for it."
                )
                raise CollectionMismatchError(message)
            yield generations.open(serving)

    @contextmanager
    def generations(self) -> Iterator[Generations]:
        """Every generation, for one operation. Raises IndexUnavailableError when they are held or not reachable."""
        # Imported here: loading definitions should not pay 1.6 s for the engine that it does not use.
        if self.url:
            from resources.vectors.server.generations import ServerGenerations

            with ServerGenerations.connect(self.url, self.api_key) as server:
                yield server
        elif self.edge_path:
            from resources.vectors.edge.generations import EdgeGenerations

            with EdgeGenerations.lock(Path(self.edge_path), self.lock_timeout_seconds) as edge:
                yield edge
        else:
            message = "There is no vector index: set QDRANT_URL."
            raise IndexUnavailableError(message)
