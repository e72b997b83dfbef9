"""Search: a question in, ranked accounts with evidence out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.corpus import CHUNKS, TERMS
from assets.lake import LAKE_ACCOUNTS
from assets.transforms.search.bm25 import weigh_query
from assets.transforms.search.ranking import (
    FETCHED,
    Candidates,
    RankedAccount,
    Retriever,
    cosines,
    near_ties,
    rank_accounts,
)
from assets.transforms.text.corpus import clean, spelled
from resources.delta.table import LakeResource
from resources.models.embedder import EmbedderResource
from resources.vectors.bm25 import SparseEncoder
from resources.vectors.protocol import VectorIndex
from resources.vectors.resource import QdrantResource
from resources.vectors.values import SearchFilter, SparseVector


@dataclass(frozen=True)
class Followers:
    """How many followers an account may have, both ends included; None means any number.

    Counts move all day, so they are joined from the lake when a question is asked and are in no point: otherwise
    every point would be rewritten every day. An account without a count matches no range.
    """

    at_least: int | None = None
    at_most: int | None = None

    def __post_init__(self) -> None:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            message = f"No account has at least {self.at_least:,} and at most {self.at_most:,} followers."
            raise ValueError(message)


@dataclass(frozen=True)
class Question:
    """A query as the index is asked it: its unit vector (dimension,), its terms weighed by corpus-wide IDF."""

    dense: NDArray[np.float32]
    sparse: SparseVector


def find(shards: Sequence[VectorIndex], question: Question, where: SearchFilter) -> Candidates:
    """Everything that the ranking needs, from every shard, to a fixed depth.

    Near ties are settled by their vectors, so that the ranking is the same whatever engine or number of shards.
    """
    by_shard = [shard.search_dense(question.dense, where, FETCHED) for shard in shards]
    bm25 = [found for shard in shards for found in shard.search_sparse(question.sparse, where, FETCHED)]
    dense = [candidate for found in by_shard for candidate in found]
    tied = set(near_ties(dense))
    vectors = {
        point.id: point.dense
        for shard, found in zip(shards, by_shard, strict=True)
        if (ids := [candidate.id for candidate in found if candidate.id in tied])
        for point in shard.retrieve(ids)
    }
    return Candidates(dense, bm25, cosines(question.dense, vectors))


@dataclass(frozen=True)
class Searcher:
    """What a search needs: the lake for corpus-wide term counts, the encoder, the index."""

    lake: LakeResource
    embedder: EmbedderResource
    qdrant: QdrantResource

    def accounts(
        self,
        query: str,
        where: SearchFilter,
        limit: int,
        evidence: int = 3,
        followers: Followers | None = None,
        retriever: Retriever = Retriever.HYBRID,
    ) -> list[RankedAccount]:
        """The best accounts for a query, each with its best posts.

        Dense and BM25 candidates are fetched to a fixed depth, so the first k of a longer answer are the shorter
        one. Raises ValueError for a query without text, CollectionMissingError before the first load.
        """
        with self.qdrant.open(self.embedder.model().name) as index:
            found = find([index], self.question(query), self._narrowed(where, followers))
        return rank_accounts(found.of(retriever), limit, evidence)

    def question(self, query: str) -> Question:
        """A query, embedded and weighed; reads the counts of its terms only. ValueError for one without text."""
        return self.questions([query])[0]

    def questions(self, queries: Sequence[str]) -> list[Question]:
        """Queries, embedded and weighed together: their terms' counts are read once for all. Raises ValueError."""
        texts = [clean(query) for query in queries]
        if not all(texts):
            message = "The query is empty, expected words to search for."
            raise ValueError(message)
        vectors: dict[int, NDArray[np.float32]] = {}
        for indices, batch in self.embedder.model().embed(texts):
            vectors.update(zip((int(index) for index in indices), batch, strict=True))
        weighed = self._weighed(texts)
        return [Question(vectors[number], terms) for number, terms in enumerate(weighed)]

    def _narrowed(self, where: SearchFilter, followers: Followers | None) -> SearchFilter:
        """The filter in the spelling of the points, with the accounts of so many followers in it."""
        where = _spelled(where)
        if followers is None or followers == Followers():
            return where
        count, bounds = pl.col("followers"), pl.col("deleted_at").is_null() & pl.col("followers").is_not_null()
        if followers.at_least is not None:
            bounds &= count >= followers.at_least
        if followers.at_most is not None:
            bounds &= count <= followers.at_most
        held = self.lake.scan(LAKE_ACCOUNTS).filter(bounds).select("account_id").collect()
        eligible = frozenset(held["account_id"].to_list())
        return replace(where, account_ids=eligible if where.account_ids is None else eligible & where.account_ids)

    def _weighed(self, texts: Sequence[str]) -> list[SparseVector]:
        """The queries' terms with their corpus-wide IDF weights; reads the counts of those terms only."""
        terms_of = [self._encoder.encode_query(text).indices for text in texts]
        documents = sum(contents.rows for contents in self.lake.contents(CHUNKS).values())
        wanted = sorted({int(term) for terms in terms_of for term in terms})
        if not wanted or not documents:
            return [SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32)) for _ in texts]
        counted = self.lake.scan(TERMS).filter(pl.col("term").is_in(wanted))
        frequencies = dict(counted.group_by("term").agg(pl.col("documents").sum()).collect().iter_rows())
        return [SparseVector(*weigh_query(terms, frequencies, documents)) for terms in terms_of]

    @cached_property
    def _encoder(self) -> SparseEncoder:
        return SparseEncoder()


def _spelled(where: SearchFilter) -> SearchFilter:
    """A filter whose language, country and network are spelled as in the points."""
    stated = {name: getattr(where, name) for name in ("language", "country", "network")}
    given = {name: value for name, value in stated.items() if value is not None}
    if not given:
        return where
    one = pl.DataFrame({name: [value] for name, value in given.items()}).select(spelled(name) for name in given)
    # A blank is no value of any point, and must not become "any".
    return replace(where, **{name: value or given[name] for name, value in one.row(0, named=True).items()})
