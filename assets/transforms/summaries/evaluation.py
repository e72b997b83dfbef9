"""The figures of a method of summaries, measured on reviews with references."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Evaluation:
    """ROUGE-1 of a method on reviews with references, as its mean over entities. ``low`` and ``high`` are the ends of
    its 95 % interval, None with one entity; ``usd`` is what the answers of a language model cost."""

    method: str
    model: str
    rouge1: float
    low: float | None
    high: float | None
    entities: int
    references: int
    reviews: int
    day: str
    usd: float | None = None
