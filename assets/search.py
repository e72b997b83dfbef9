"""Search: a question in, ranked accounts with evidence out.

Belongs here: asking the index for candidates and handing them to the ranking. Not here: fusion and tie-breaks
(transforms/ranking.py), engines.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from assets.corpus import CHUNKS, TERMS
from assets.transforms.bm25 import weigh_query
from assets.transforms.corpus import clean
from assets.transforms.ranking import CANDIDATES, RankedAccount, rank_accounts
from resources.bm25 import SparseEncoder
from resources.embedder import EmbedderResource
from resources.lake import LakeResource
from resources.qdrant import QdrantResource, SearchFilter, SparseVector


@dataclass(frozen=True)
class Searcher:
    """What a search needs: the lake for corpus-wide term counts, the encoder, the index."""

    lake: LakeResource
    embedder: EmbedderResource
    qdrant: QdrantResource

    def accounts(self, query: str, where: SearchFilter, limit: int, evidence: int = 3) -> list[RankedAccount]:
        """The best accounts for a query, each with its best posts.

        Dense and BM25 candidates are fetched to a fixed depth, so the first k of a longer answer are the shorter
        one. Raises ValueError for a query without text, CollectionMissingError before the first load.
        """
        text = clean(query)
        if not text:
            message = "The query is empty, expected words to search for."
            raise ValueError(message)
        [(_, vectors)] = self.embedder.model().embed([text])
        with self.qdrant.open() as index:
            sparse = self._weighed(text)
            dense = index.search_dense(vectors[0], where, CANDIDATES)
            bm25 = index.search_sparse(sparse, where, CANDIDATES) if len(sparse) else []
        return rank_accounts(dense, bm25, limit, evidence)

    def _weighed(self, text: str) -> SparseVector:
        """The query's terms with their corpus-wide IDF weights; reads the counts of those terms only."""
        terms = SparseEncoder().encode_query(text).indices
        documents = sum(contents.rows for contents in self.lake.contents(CHUNKS).values())
        if not len(terms) or not documents:
            return SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))
        counted = self.lake.scan(TERMS).filter(pl.col("term").is_in(terms.astype(np.int64).tolist()))
        frequencies = counted.group_by("term").agg(pl.col("documents").sum()).collect()
        return SparseVector(*weigh_query(terms, dict(frequencies.iter_rows()), documents))
