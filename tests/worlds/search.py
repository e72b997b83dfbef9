"""A generated corpus to search, with ties among it, in any engine and any number of shards."""

import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient

from assets.search.query import Question
from assets.transforms.search.bm25 import weigh_query
from resources.settings import bucket_count
from resources.vectors.bm25 import SparseEncoder
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import Generation, IndexConfig
from resources.vectors.index import SearchIndex, VectorIndex
from resources.vectors.published.copy import ReadersCopy, publish
from resources.vectors.server.generations import ServerGenerations
from resources.vectors.values import IndexPoint, SparseVector

VOCABULARY = 400
COPIED = 0.2  # of the posts have the text of another one, often another account's
NUDGED = 0.3  # of the copies have a vector that differs in its last digits, as from another batch of the encoder


@dataclass(frozen=True)
class Corpus:
    """``size`` posts of ``size / 5`` accounts; a vector is the mean of its words' vectors, so that engines disagree."""

    size: int
    dimension: int
    seed: int = 1

    @cached_property
    def points(self) -> list[IndexPoint]:
        random = np.random.default_rng(self.seed)
        texts: list[str] = []
        dense = np.empty((self.size, self.dimension), np.float32)
        for number in range(self.size):
            if number and random.random() < COPIED:
                original = int(random.integers(number))
                texts.append(texts[original])
                noise = random.normal(0, 1e-8, self.dimension) if random.random() < NUDGED else 0
                dense[number] = dense[original] + noise
            else:
                words = self._words(random, int(random.integers(3, 12)))
                texts.append(" ".join(f"word{word}" for word in words))
                dense[number] = self._unit(words)
        sparse = SparseEncoder().encode_documents(texts)
        accounts = random.integers(0, self.size // 5, self.size)
        return [
            IndexPoint(
                str(uuid.UUID(bytes=random.bytes(16))),
                dense[number],
                sparse[number],
                {
                    "account_id": f"a{accounts[number]}",
                    "account_bucket": int(accounts[number] % bucket_count()),
                    "post_id": f"p{number}",
                    "text": texts[number],
                },
            )
            for number in range(self.size)
        ]

    def questions(self, count: int) -> list[Question]:
        """Questions of one to five words; some are nobody's words."""
        random, encoder = np.random.default_rng(self.seed + 1), SparseEncoder()
        frequencies = Counter(term for point in self.points for term in point.sparse.indices.tolist())
        asked = []
        for _ in range(count):
            words = self._words(random, int(random.integers(1, 6)))
            terms = encoder.encode_query(" ".join(f"word{word}" for word in words)).indices
            asked.append(Question(self._unit(words), SparseVector(*weigh_query(terms, frequencies, self.size))))
        return asked

    @cached_property
    def _word_vectors(self) -> NDArray[np.float64]:
        return np.random.default_rng(self.seed + 2).normal(size=(VOCABULARY, self.dimension))

    def _words(self, random: np.random.Generator, count: int) -> list[int]:
        return [int(word) for word in np.minimum(random.zipf(1.3, count), VOCABULARY) - 1]

    def _unit(self, words: Sequence[int]) -> NDArray[np.float32]:
        mean = self._word_vectors[list(words)].mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)


def index_config(dimension: int) -> IndexConfig:
    """What the collections of tests are made by."""
    return IndexConfig("test", dimension, "test")


@contextmanager
def edge_shards(corpus: Corpus, folder: Path, count: int) -> Iterator[list[VectorIndex]]:
    """The corpus in ``count`` Edge folders; the posts of an account are in several of them."""
    template = folder / "empty"
    if not template.exists():  # creating the payload indexes takes 2 s, copying them nothing
        with EdgeGenerations.lock(template, 1.0) as generations:
            generations.create(index_config(corpus.dimension))
    with ExitStack() as stack:
        shards: list[VectorIndex] = []
        for number in range(count):
            shutil.copytree(template, folder / f"{count}-{number}")
            generations = stack.enter_context(EdgeGenerations.lock(folder / f"{count}-{number}", 1.0))
            shard = generations.open(generations.all()[0])
            shard.upsert(corpus.points[number::count])
            shards.append(shard)
        yield shards


def published(shards: Sequence[VectorIndex], folder: Path, dimension: int) -> list[SearchIndex]:
    """The readers' copies of shards."""
    generation = Generation(1, "published", index_config(dimension))
    copies: list[SearchIndex] = []
    for number, shard in enumerate(shards):
        place = folder / f"published-{number}"
        publish(place, generation, (), range(bucket_count()), shard.scroll_points)
        opened = ReadersCopy(place).open()
        assert opened is not None
        copies.append(opened[1])
    return copies


def in_memory(corpus: Corpus) -> list[VectorIndex]:
    """The corpus in qdrant-client's own engine."""
    generations = ServerGenerations(QdrantClient(":memory:"), "memory")
    index = generations.open(generations.create(index_config(corpus.dimension)))
    index.upsert(corpus.points)
    return [index]
