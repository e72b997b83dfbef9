"""An embedder for tests: the model's interface without the model, counting what it is asked to embed.

Vectors come from the text's hash, so equal texts have equal vectors and others are nearly orthogonal. A token is a
run of letters and digits, or any other character that is not whitespace.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from resources.llm.embedder import EmbedderResource
from resources.models.embedder import EmbeddingModel
from resources.models.minilm import MAX_POSITIONS
from resources.models.tokenizer import WordPieceTokenizer

_TOKEN = re.compile(r"\w+|[^\w\s]")


class FakeTokenizer(WordPieceTokenizer):
    def __init__(self) -> None:
        self.max_tokens = MAX_POSITIONS

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        return [len(offsets) for offsets in self.token_offsets(texts)]

    def token_offsets(self, texts: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
        for text in texts:
            yield [match.span() for match in _TOKEN.finditer(text)]


class CountingEmbedder(EmbeddingModel):
    """``embedded`` counts every text that was embedded, ``calls`` the calls of ``embed`` that were read. It cannot read
    the texts in ``unreadable``."""

    name = "fake@1"
    dimension = 384

    def __init__(self, batch_size: int = 100) -> None:
        self.embedded: Counter[str] = Counter()
        self.calls = 0
        self.unreadable = set[str]()
        self._batch_size = batch_size

    @property
    def tokenizer(self) -> FakeTokenizer:
        return FakeTokenizer()

    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        self.calls += 1
        longest_first = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        for first in range(0, len(texts), self._batch_size):
            indices = longest_first[first : first + self._batch_size]
            self.embedded.update(texts[index] for index in indices)
            yield indices, np.stack([self.vector(texts[index]) for index in indices])

    def _embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.embed_all(texts)

    def legible(self, texts: Sequence[str]) -> list[str]:
        return list(texts)

    def can_read(self, texts: Sequence[str]) -> list[bool]:
        return [text not in self.unreadable for text in texts]

    def vector(self, text: str) -> NDArray[np.float32]:
        """The unit vector (384,) of a text."""
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        vector = np.random.default_rng(seed).standard_normal(self.dimension, dtype=np.float32)
        return vector / np.linalg.norm(vector)


# Dagster copies a resource for every step; the copies find their counting embedder here by its key.
_EMBEDDERS: dict[str, CountingEmbedder] = {}


class CountingEmbedderResource(EmbedderResource):
    """An EmbedderResource whose model is the CountingEmbedder of ``key``; it works within one process."""

    key: str

    def model(self) -> CountingEmbedder:
        return _EMBEDDERS[self.key]


def counting_embedder() -> tuple[CountingEmbedderResource, CountingEmbedder]:
    """A resource to run assets with, and the embedder behind it to ask what was embedded."""
    key = uuid4().hex
    _EMBEDDERS[key] = CountingEmbedder()
    return CountingEmbedderResource(key=key), _EMBEDDERS[key]
