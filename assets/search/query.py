"""Search: return ranked accounts with evidence for a query."""

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
from assets.transforms.text.cleaning import clean
from assets.transforms.text.corpus import spelled
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource
from resources.vectors.bm25 import SparseEncoder
from resources.vectors.index import VectorIndex
from resources.vectors.resource import QdrantResource
from resources.vectors.values import SearchFilter, SparseVector

_ANY = 2**63 - 1  # as a number of followers, which are 64-bit integers


@dataclass(frozen=True)
class Followers:
    """A range of follower counts, both ends included; None means no limit.

    Counts change all day, so a search joins them from the lake: in points they would cause a rewrite every day. An
    account without a count matches no range.
    """

    at_least: int | None = None
    at_most: int | None = None

    def __post_init__(self) -> None:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"No account has at least {self.at_least:,} and at most {self.at_most:,} followers.")


@dataclass(frozen=True)
class Question:
    """A query for the index: its unit vector (dimension,), and its terms with corpus-wide IDF weights.

    The vector is 0 when the model cannot read the query: BM25 alone answers it.
    """

    dense: NDArray[np.float32]
    sparse: SparseVector

    @property
    def is_read(self) -> bool:
        """Whether the model could read the query."""
        return bool(self.dense.any())


def find(shards: Sequence[VectorIndex], question: Question, where: SearchFilter) -> Candidates:
    """Fetch the candidates for the ranking from every shard, to a fixed depth.

    Near ties are decided by their vectors, so that the ranking does not depend on the engine or number of shards.
    """
    bm25 = [found for shard in shards for found in shard.search_sparse(question.sparse, where, FETCHED)]
    if not question.is_read:
        return Candidates([], bm25)
    by_shard = [shard.search_dense(question.dense, where, FETCHED) for shard in shards]
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
    """Searches with the lake's corpus-wide term counts, the encoder and the index."""

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
        """Return the best accounts for a query, each with its best posts.

        Candidates are fetched to a fixed depth, so the k best accounts are the first k of any longer answer.
        Raises ValueError for a query without text, CollectionMissingError before the first promotion.
        """
        with self.qdrant.open(self.embedder.model().name) as index:
            found = find([index], self.question(query), self._narrowed(where, followers))
        return rank_accounts(found.of(retriever), limit, evidence)

    def can_read(self, query: str) -> bool:
        """Return whether the embedding model can read a query; BM25 alone answers another."""
        return self.embedder.model().can_read([clean(query)])[0]

    def question(self, query: str) -> Question:
        """Embed and weigh a query. Raise ValueError if it has no text."""
        return self.questions([query])[0]

    def questions(self, queries: Sequence[str]) -> list[Question]:
        """Embed and weigh queries; read the counts of their terms once for all. Raise ValueError for an empty one."""
        texts = [clean(query) for query in queries]
        if not all(texts):
            raise ValueError("The query is empty, expected words to search for.")
        vectors = self.embedder.model().embed_queries(texts)
        return [Question(dense, sparse) for dense, sparse in zip(vectors, self._weighed(texts), strict=True)]

    def _narrowed(self, where: SearchFilter, followers: Followers | None) -> SearchFilter:
        """Return the filter in the spelling of the points, restricted to accounts in the range of followers."""
        where = _spelled(where)
        if followers is None or followers == Followers():
            return where
        least = -_ANY if followers.at_least is None else followers.at_least
        most = _ANY if followers.at_most is None else followers.at_most
        in_range = pl.col("deleted_at").is_null() & pl.col("followers").is_between(least, most)
        accounts = self.lake.scan(LAKE_ACCOUNTS).filter(in_range).select("account_id").collect()
        eligible = frozenset(accounts["account_id"].to_list())
        return replace(where, account_ids=eligible if where.account_ids is None else eligible & where.account_ids)

    def _weighed(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return the queries' terms with corpus-wide IDF weights; read the counts of those terms only."""
        terms_of = [self._encoder.encode_query(text).indices for text in texts]
        documents = sum(contents.rows for contents in self.lake.contents(CHUNKS).values())
        wanted = sorted({int(term) for terms in terms_of for term in terms})
        if not wanted or not documents:
            return [SparseVector.of([], []) for _ in texts]
        counted = self.lake.scan(TERMS).filter(pl.col("term").is_in(wanted))
        frequencies = dict(counted.group_by("term").agg(pl.col("documents").sum()).collect().iter_rows())
        return [SparseVector(*weigh_query(terms, frequencies, documents)) for terms in terms_of]

    @cached_property
    def _encoder(self) -> SparseEncoder:
        return SparseEncoder()


def _spelled(where: SearchFilter) -> SearchFilter:
    """Return the filter with language, country and network spelled as in the points."""
    given = {name: value for name in ("language", "country", "network") if (value := getattr(where, name)) is not None}
    if not given:
        return where
    row = pl.DataFrame([given]).select(spelled(name) for name in given).row(0, named=True)
    # No point has a blank value, and a blank must not become "any".
    return replace(where, **{name: value or given[name] for name, value in row.items()})
