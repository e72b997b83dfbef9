"""Generations of the collection in a Qdrant server: a collection each, and two aliases."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from qdrant_client import QdrantClient, models

from resources.vectors.generations import PREVIOUS, SERVING, Generation, Recipe, generation_number
from resources.vectors.server.address import client_of, shown_address
from resources.vectors.server.calls import QdrantCalls, RetryPolicy
from resources.vectors.server.index import ServerIndex
from resources.vectors.server.models import collection_settings
from resources.vectors.values import AliasRaceError, CollectionMissingError, NoPreviousError, VectorIndexError

REQUEST_TIMEOUT_SECONDS = 60
STREAMS = 4
"""Batches that are sent to a server at a time; its own advice is two to four."""


class ServerGenerations:
    """``Generations`` in the server behind ``client``; ``name`` names that server in errors."""

    def __init__(self, client: QdrantClient, name: str, retry: RetryPolicy | None = None, streams: int = 1) -> None:
        self._client = client
        self._name = name
        self._retry = retry or RetryPolicy()
        self._streams = streams

    @classmethod
    @contextmanager
    def connect(cls, url: str, api_key: str = "", retry: RetryPolicy | None = None) -> Iterator["ServerGenerations"]:
        """Through a client of its own. Raises IndexUnavailableError if the server does not answer.

        Raises QdrantAddressError for what is no address.
        """
        name = shown_address("QDRANT_URL", url)
        client = client_of(url, api_key, REQUEST_TIMEOUT_SECONDS)
        try:
            found = cls(client, name, retry, STREAMS)
            found._call(client.get_collections)
            yield found
        finally:
            client.close()

    def all(self) -> list[Generation]:
        """See Generations. Collections with other names are somebody else's."""
        listed = self._call(self._client.get_collections).collections
        names = [found.name for found in listed if generation_number(found.name) is not None]
        return sorted((self._read(name) for name in names), key=lambda found: found.number)

    def serving(self) -> Generation | None:
        """See Generations."""
        return self._named(SERVING)

    def previous(self) -> Generation | None:
        """See Generations."""
        return self._named(PREVIOUS)

    def create(self, recipe: Recipe) -> Generation:
        """See Generations. Needs Qdrant 1.16 or newer, whose collections carry metadata."""
        if self._call(self._client.collection_exists, SERVING) and SERVING not in self._aliases():
            message = (
                f"{SERVING} at {self._name} is a collection, and has to be an alias: nothing that Cippus "
                f"made. Delete or rename it."
            )
            raise VectorIndexError(message)
        made = Generation(max([0, *(found.number for found in self.all())]) + 1, str(uuid.uuid4()), recipe)
        call = self._calls(made.name)
        try:
            call(self._client.create_collection, made.name, metadata=made.to_json(), **collection_settings(recipe))
        except VectorIndexError:
            # Another process, or the lost answer of our own first try, may have been first.
            if not call(self._client.collection_exists, made.name) or self._read(made.name).recipe != recipe:
                raise
        self._index(made).create_payload_indexes()
        return self._read(made.name)

    def open(self, generation: Generation) -> ServerIndex:
        """See Generations. Payload indexes that a killed creation left out are made."""
        index = self._index(generation)
        index.create_payload_indexes()
        return index

    def promote(self, generation: Generation) -> None:
        """See Generations."""
        before = self._aliases().get(SERVING)
        if before == generation.name:
            return
        self._swap(generation.name, before)
        self._hold(generation, held=False)

    def roll_back(self) -> Generation:
        """See Generations."""
        serving, previous = self.serving(), self.previous()
        if previous is None:
            message = f"There is no generation before the one that is served at {self._name}."
            raise NoPreviousError(message)
        if serving is not None:
            self._hold(serving, held=True)
        self._swap(previous.name, serving.name if serving else None)
        return self._hold(previous, held=False)

    def drop(self, generation: Generation) -> None:
        """See Generations."""
        if self._aliases().get(SERVING) == generation.name:
            message = f"{generation.name} is served and cannot be dropped."
            raise VectorIndexError(message)
        self._calls(generation.name)(self._client.delete_collection, generation.name)

    def _calls(self, collection: str) -> QdrantCalls:
        return QdrantCalls(self._name, collection, self._retry)

    @property
    def _call(self) -> QdrantCalls:
        """Calls that are about none of the generations, or about whichever is served."""
        return self._calls(SERVING)

    def _index(self, generation: Generation) -> ServerIndex:
        return ServerIndex(
            self._client, self._name, generation.name, self._retry, streams=self._streams, recipe=generation.recipe
        )

    def _named(self, alias: str) -> Generation | None:
        name = self._aliases().get(alias)
        try:
            return self._read(name) if name else None
        except CollectionMissingError:
            return None

    def _read(self, name: str) -> Generation:
        info = self._call(self._client.get_collection, name)
        try:
            return Generation.from_json(name, info.config.metadata or {})
        except (KeyError, TypeError, ValueError) as error:
            message = f"{name} at {self._name} does not say what it was made by: not made here, or Qdrant before 1.16."
            raise VectorIndexError(message) from error

    def _aliases(self) -> dict[str, str]:
        found = self._call(self._client.get_aliases).aliases
        return {alias.alias_name: alias.collection_name for alias in found}

    def _swap(self, serving: str, previous: str | None) -> None:
        """Both aliases in one call, which a server applies whole or not at all, and a look at what stands then."""
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
        stands = self._aliases().get(SERVING)
        if stands != serving:
            message = (
                f"{serving} was promoted at {self._name}, but {SERVING} is {stands}: another process promoted at the "
                f"same time. Look at which runs write to this server, and run again."
            )
            raise AliasRaceError(message)

    def _hold(self, generation: Generation, *, held: bool) -> Generation:
        marked = replace(self._read(generation.name), held=held)
        self._call(self._client.update_collection, generation.name, metadata=marked.to_json())
        return marked
