"""Generations of the collection: `cippus_text_v1`, `_v2`, …, and the two aliases that say which one is served."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from resources.vectors.index import VectorIndex
from resources.vectors.values import CollectionMissingError, IndexPoint, NoPreviousError, VectorIndexError

SERVING = "cippus_text"
PREVIOUS = f"{SERVING}_previous"
"""Aliases of the generation that is served, and of the one served before it. Both change in one step."""
READERS = "readers"
"""Folder of the copy that readers of an embedded engine have."""
QUANTIZATIONS = ("none", "scalar", "turbo")


@dataclass(frozen=True)
class IndexConfig:
    """Model, dimension, sparse encoding and quantization of a generation; another config is another generation."""

    model: str
    dimension: int
    sparse: str
    quantization: str = "none"

    def __post_init__(self) -> None:
        if self.quantization not in QUANTIZATIONS:
            raise ValueError(f"The quantization is {self.quantization!r}, expected one of {', '.join(QUANTIZATIONS)}.")

    def has_vectors_of(self, other: "IndexConfig") -> bool:
        """Return whether points of the one config fit into a collection of the other."""
        return replace(self, quantization=other.quantization) == other


@dataclass(frozen=True)
class Generation:
    """One collection. ``id`` is made with it; No run promotes it again once it ``is_rolled_back``."""

    number: int
    id: str
    index_config: IndexConfig
    is_rolled_back: bool = False

    @property
    def name(self) -> str:
        """The collection's name."""
        return f"{SERVING}_v{self.number}"

    def to_json(self) -> dict[str, Any]:
        """Return the metadata that an engine stores with the collection; the number is in its name."""
        return {"generation": self.id, "recipe": asdict(self.index_config), "held": self.is_rolled_back}

    @classmethod
    def from_json(cls, name: str, stored: dict[str, Any]) -> "Generation":
        """Parse stored metadata. Raise KeyError, TypeError or ValueError if this version did not write it."""
        number = generation_number(name)
        if number is None:
            raise ValueError(f"{name} is not the name of a generation.")
        return cls(number, str(stored["generation"]), IndexConfig(**stored["recipe"]), bool(stored.get("held", False)))


def generation_number(name: str) -> int | None:
    """Return the number in a generation's name, or None for any other name."""
    number = name.removeprefix(f"{SERVING}_v")
    return int(number) if number != name and number.isascii() and number.isdigit() else None


class Generations(ABC):
    """All generations in one engine. Every failure is a VectorIndexError. ``place`` names the engine in errors."""

    place: str

    def all(self) -> list[Generation]:
        """Return every generation, by number. Ignore collections with other names."""
        names = [name for name in self._names() if generation_number(name) is not None]
        return sorted(map(self._read, names), key=lambda found: found.number)

    @abstractmethod
    def create(self, index_config: IndexConfig) -> Generation:
        """Create an empty generation with the next number and its payload indexes; ``optimize`` builds its HNSW."""

    @abstractmethod
    def open(self, generation: Generation) -> VectorIndex:
        """Return the index of a generation. Raise CollectionMissingError when the generation is gone."""

    def require_rights(self) -> None:  # noqa: B027 -- an engine of this process grants every right
        """Raise VectorIndexError unless collections and aliases may be changed. Changes nothing."""

    def readers_points(self) -> Iterator[IndexPoint]:
        """Yield the points of the readers' copy, without vectors; an engine that readers ask themselves has none."""
        return iter(())

    def serving(self) -> Generation | None:
        """Return the generation that is served; None before the first promotion, or when it is lost."""
        return self._aliased(SERVING)

    def previous(self) -> Generation | None:
        """Return the generation that was served before, to which ``roll_back`` returns."""
        return self._aliased(PREVIOUS)

    def promote(self, generation: Generation) -> None:
        """Serve a generation and keep the one served until now as the previous one, in one atomic step.

        Raises AliasRaceError when another process promoted at the same time and won.
        """
        before = self._aliases().get(SERVING)
        if before != generation.name:
            self._swap(generation.name, before)
            self._mark(generation, is_rolled_back=False)

    def roll_back(self) -> Generation:
        """Serve the previous generation again, mark the replaced one as rolled back, and return the served one.

        Raises NoPreviousError when there is none.
        """
        serving, previous = self.serving(), self.previous()
        if previous is None:
            raise NoPreviousError(f"There is no generation before the one that is served in {self.place}.")
        if serving is not None:
            self._mark(serving, is_rolled_back=True)
        self._swap(previous.name, serving.name if serving else None)
        return self._mark(previous, is_rolled_back=False)

    def drop(self, generation: Generation) -> None:
        """Delete a generation that is not served, with its points, payloads and log."""
        if self._aliases().get(SERVING) == generation.name:
            raise VectorIndexError(f"{generation.name} is served and cannot be dropped.")
        self._delete(generation)

    def purge(self, _generation: Generation) -> bool:
        """Remove what deleted points left in the files of a generation. Return whether nothing of them is left.

        An engine that cannot: only a new generation is free of them.
        """
        return False

    def delete_snapshots(self) -> int:
        """Delete all snapshots of generations. Return their number; an engine of this process has none."""
        return 0

    def whole_snapshots(self) -> list[str]:
        """Return the names of snapshots of a whole server, which hold other collections too."""
        return []

    @abstractmethod
    def _names(self) -> list[str]:
        """Return the names of all collections."""

    @abstractmethod
    def _aliases(self) -> dict[str, str]:
        """Return alias → collection name."""

    @abstractmethod
    def _swap(self, serving: str, previous: str | None) -> None:
        """Point both aliases at these collections in one atomic step."""

    @abstractmethod
    def _read(self, name: str) -> Generation:
        """Read a generation's metadata. Raise CollectionMissingError when it is gone."""

    @abstractmethod
    def _write(self, generation: Generation) -> None:
        """Replace a generation's metadata."""

    @abstractmethod
    def _delete(self, generation: Generation) -> None:
        """Delete a generation, which may be gone already."""

    def _aliased(self, alias: str) -> Generation | None:
        name = self._aliases().get(alias)
        try:
            return self._read(name) if name else None
        except CollectionMissingError:
            return None

    def _mark(self, generation: Generation, *, is_rolled_back: bool) -> Generation:
        marked = replace(self._read(generation.name), is_rolled_back=is_rolled_back)
        self._write(marked)
        return marked
