"""Generations of the collection in a Qdrant server: a collection each, and two aliases."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from qdrant_client import QdrantClient, models
from tenacity import Retrying

from resources.vectors.generations import PREVIOUS, SERVING, Generation, Generations, IndexConfig
from resources.vectors.server.calls import REQUEST_TIMEOUT_SECONDS, RETRY, QdrantCalls, client_of, shown_address
from resources.vectors.server.index import ServerIndex, collection_settings
from resources.vectors.server.layout import Layout
from resources.vectors.server.purge import Purge, Telemetry
from resources.vectors.server.replicas import peers_of
from resources.vectors.values import AliasRaceError, VectorIndexError

STREAMS = 4
"""Batches that are sent to a server at a time; Qdrant's documentation advises two to four."""


class ServerGenerations(Generations):
    """``Generations`` in the server behind ``client``. ``place`` names that server in errors.

    Without a ``layout``, new generations have the server's own.
    """

    def __init__(
        self,
        client: QdrantClient,
        place: str,
        retry: Retrying = RETRY,
        streams: int = 1,
        layout: Layout | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.place = place
        self._telemetry = telemetry
        self._layout = layout
        self._client = client
        self._retry = retry
        self._streams = streams
        self._call = self._calls(SERVING)

    @classmethod
    @contextmanager
    def connect(
        cls,
        url: str,
        api_key: str = "",
        retry: Retrying = RETRY,
        nodes: Sequence[str] = (),
        layout: Layout | None = None,
    ) -> Iterator["ServerGenerations"]:
        """Yield the generations at ``url``, or at one of the ``nodes`` of its cluster when it does not answer.

        Raises IndexUnavailableError if the server does not answer, IndexAccessError if it refuses the key, and
        QdrantAddressError for a bad ``url``.
        """
        place = shown_address("QDRANT_URL", url)
        for node in nodes:
            shown_address("CIPPUS_QDRANT_NODES", node)
        client = client_of(url, api_key, REQUEST_TIMEOUT_SECONDS, nodes)
        try:
            found = cls(client, place, retry, STREAMS, layout or Layout(), Telemetry([*nodes] or [url], api_key))
            found._call(client.get_collections)
            yield found
        finally:
            client.close()

    def create(self, index_config: IndexConfig) -> Generation:
        """See Generations. Needs Qdrant 1.16 or newer, whose collections carry metadata."""
        if self._call(self._client.collection_exists, SERVING) and SERVING not in self._aliases():
            raise VectorIndexError(
                f"{SERVING} at {self.place} is a collection, and has to be an alias. Cippus did not make it: "
                "delete or rename it."
            )
        number = 1 + max((found.number for found in self.all()), default=0)
        made = Generation(number, str(uuid.uuid4()), index_config)
        layout = self._layout.of_nodes(self._nodes()) if self._layout else {}
        call = self._calls(made.name)
        try:
            call(
                self._client.create_collection,
                made.name,
                metadata=made.to_json(),
                **collection_settings(index_config),
                **layout,
            )
        except VectorIndexError:
            # Another process, or our own first attempt whose response was lost, may have created it.
            exists = call(self._client.collection_exists, made.name)
            if not exists or self._read(made.name).index_config != index_config:
                raise
        self.open(made)
        return self._read(made.name)

    def require_rights(self) -> None:
        """See Generations. A change of no alias needs the same right as any change of aliases or collections."""
        self._call(self._client.update_collection_aliases, [])

    def purge(self, generation: Generation) -> bool:
        """See Generations. False too if not all nodes of the cluster are known, because each has its own files."""
        if self._telemetry is None or len(self._telemetry.addresses) < self._nodes():
            return False
        call = self._calls(generation.name)
        return Purge(self._client, call, generation.name, self._telemetry).run()

    def delete_snapshots(self) -> int:
        """See Generations. Every node has its own snapshots."""
        deleted = 0
        for client in self._node_clients():
            for generation in self.all():
                call = self._calls(generation.name)
                for snapshot in call(client.list_snapshots, generation.name):
                    call(client.delete_snapshot, generation.name, snapshot.name)
                    deleted += 1
        return deleted

    def whole_snapshots(self) -> list[str]:
        """See Generations."""
        return sorted(found.name for client in self._node_clients() for found in self._call(client.list_full_snapshots))

    def _node_clients(self) -> Iterator[QdrantClient]:
        """Yield a client of every node that is known, or the one client."""
        if self._telemetry is None or len(self._telemetry.addresses) < 2:
            yield self._client
            return
        for address in self._telemetry.addresses:
            client = client_of(address, self._telemetry.api_key, REQUEST_TIMEOUT_SECONDS)
            try:
                yield client
            finally:
                client.close()

    def open(self, generation: Generation) -> ServerIndex:
        """See Generations. Creates payload indexes that a killed process left out."""
        index = ServerIndex(
            self._client,
            self.place,
            generation.name,
            self._retry,
            streams=self._streams,
            is_quantized=generation.index_config.quantization != "none",
        )
        index.create_payload_indexes()
        return index

    def _nodes(self) -> int:
        return len(peers_of(self._call(self._client.cluster_status))) or 1

    def _calls(self, collection: str) -> QdrantCalls:
        return QdrantCalls(self.place, collection, self._retry)

    def _read(self, name: str) -> Generation:
        info = self._calls(name)(self._client.get_collection, name)
        try:
            return Generation.from_json(name, info.config.metadata or {})
        except (KeyError, TypeError, ValueError) as error:
            raise VectorIndexError(
                f"{name} at {self.place} has no metadata of Cippus: not made here, or Qdrant before 1.16."
            ) from error

    def _names(self) -> list[str]:
        return [found.name for found in self._call(self._client.get_collections).collections]

    def _write(self, generation: Generation) -> None:
        self._call(self._client.update_collection, generation.name, metadata=generation.to_json())

    def _delete(self, generation: Generation) -> None:
        self._calls(generation.name)(self._client.delete_collection, generation.name)

    def _aliases(self) -> dict[str, str]:
        found = self._call(self._client.get_aliases).aliases
        return {alias.alias_name: alias.collection_name for alias in found}

    def _swap(self, serving: str, previous: str | None) -> None:
        """Change both aliases in one call, which a server applies as a whole, then read the result."""
        wanted = {SERVING: serving} | ({PREVIOUS: previous} if previous else {})
        operations: list[models.AliasOperations] = [
            models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
            for alias in self._aliases().keys() & {SERVING, PREVIOUS}
        ]
        operations += [
            models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))
            for alias, name in wanted.items()
        ]
        self._call(self._client.update_collection_aliases, operations)
        found = self._aliases().get(SERVING)
        if found != serving:
            raise AliasRaceError(
                f"{serving} was promoted at {self.place}, but {SERVING} is {found}: another process promoted at the "
                "same time. Look at which runs write to this server, and run again."
            )
