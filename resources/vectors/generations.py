"""Generations of the collection: `cippus_text_v1`, `_v2`, …, and which of them is served."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from resources.vectors.protocol import VectorIndex

SERVING = "cippus_text"
PREVIOUS = f"{SERVING}_previous"
"""Aliases of the generation that search reads, and of the one that was served before it. Both change in one step."""
QUANTIZATIONS = ("none", "scalar", "turbo")


@dataclass(frozen=True)
class Recipe:
    """What the vectors of a generation are made by; another recipe is another generation."""

    model: str
    dimension: int
    sparse: str
    quantization: str = "none"

    def __post_init__(self) -> None:
        if self.quantization not in QUANTIZATIONS:
            message = f"The quantization is {self.quantization!r}, expected one of {', '.join(QUANTIZATIONS)}."
            raise ValueError(message)

    def has_vectors_of(self, other: "Recipe") -> bool:
        """Whether a point of one can be written into the other."""
        return (self.model, self.dimension, self.sparse) == (other.model, other.dimension, other.sparse)


@dataclass(frozen=True)
class Generation:
    """One collection. ``id`` is made with it; ``held`` means that it was rolled back and is not promoted by itself."""

    number: int
    id: str
    recipe: Recipe
    held: bool = False

    @property
    def name(self) -> str:
        """The collection's own name."""
        return f"{SERVING}_v{self.number}"

    def to_json(self) -> dict[str, Any]:
        """What an engine keeps beside the collection; its name says the number."""
        return {"generation": self.id, "recipe": asdict(self.recipe), "held": self.held}

    @classmethod
    def from_json(cls, name: str, kept: dict[str, Any]) -> "Generation":
        """The reverse. Raises KeyError, TypeError or ValueError for what this version did not write."""
        number = generation_number(name)
        if number is None:
            message = f"{name} is not the name of a generation."
            raise ValueError(message)
        return cls(number, str(kept["generation"]), Recipe(**kept["recipe"]), bool(kept.get("held", False)))


def generation_number(name: str) -> int | None:
    """The number in a generation's name, or None for any other name."""
    number = name.removeprefix(f"{SERVING}_v")
    return int(number) if number != name and number.isascii() and number.isdigit() else None


class Generations(Protocol):
    """Every generation in one engine. Every failure is a VectorIndexError."""

    def all(self) -> list[Generation]:
        """Every generation, by number."""

    def serving(self) -> Generation | None:
        """The generation that search reads; None before the first promotion, or when it is lost."""

    def previous(self) -> Generation | None:
        """The generation that was served before, to which ``roll_back`` returns."""

    def create(self, recipe: Recipe) -> Generation:
        """A new, empty generation of the next number, with its payload indexes. HNSW waits for ``optimize``."""

    def open(self, generation: Generation) -> "VectorIndex":
        """Its points. Raises CollectionMissingError when it is gone."""

    def promote(self, generation: Generation) -> None:
        """Serve it, and keep the one served until now as the previous one: one atomic step, then it is not held.

        Raises AliasRaceError when another process' promotion is what stands afterwards.
        """

    def roll_back(self) -> Generation:
        """Serve the previous generation again, and hold the one that it replaces. Returns what is served now.

        Raises NoPreviousError when there is none.
        """

    def drop(self, generation: Generation) -> None:
        """Delete a generation that is not served, its points, payloads and log included."""
