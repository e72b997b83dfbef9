"""Search: return ranked accounts with evidence for a query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from assets.search.accounts import Accounts
from assets.search.candidates import Keep, Question, fetched, find, most_windows
from assets.search.filters import ANY_NUMBER, Followers, as_in_points
from assets.search.similar import profile, resolve
from assets.search.terms import Terms
from assets.transforms.search.facets import accounts_of, count_facets
from assets.transforms.search.names import NameMatch, match_names
from assets.transforms.search.query_language import Query, acceptance, accepted_by, parse
from assets.transforms.search.ranking import Candidates, RankedAccount, Retriever, rank_accounts
from assets.transforms.search.relevance import with_relevance
from assets.transforms.text.corpus import clean
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource
from resources.vectors.index import VectorIndex
from resources.vectors.resource import QdrantResource
from resources.vectors.values import Candidate, SearchFilter
from resources.wiring import resources

__all__ = ["ANY_NUMBER", "Answer", "Followers", "Question", "SearchFilter", "Searcher", "find", "open_search"]
_ANYONE = SearchFilter()
_NOTHING = Candidates([], [])


@dataclass(frozen=True)
class Answer:
    """A page of ranked accounts, and what was searched for.

    ``found`` is the number of accounts that were found so far; more may follow unless ``is_complete``. ``mended`` are
    the words that no post has, with those that were searched for instead. ``facets`` count the accounts that were found
    by network, country, language and vertical.
    """

    accounts: list[RankedAccount]
    query: Query
    mended: Mapping[str, str] = field(default_factory=dict)
    facets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    found: int = 0
    is_complete: bool = True


def open_search() -> "Searcher":
    """Return a searcher of the stack that the environment variables name, as `cippus search` uses it.

    It can be kept: each search asks for the newest commits and the generation that is served. The embedded stack must
    be up (`cippus up`).
    """
    made = resources()
    # Until they are initialized, their secrets are EnvVars.
    qdrant, embedder = made.qdrant.process_config_and_initialize(), made.embedder.process_config_and_initialize()
    return Searcher(made.lake, embedder, qdrant)


@dataclass(frozen=True)
class Searcher:
    """Searches with the lake's accounts and corpus-wide term counts, the encoder and the index."""

    lake: LakeResource
    embedder: EmbedderResource
    qdrant: QdrantResource

    def accounts(
        self,
        query: str,
        where: SearchFilter = _ANYONE,
        limit: int = 10,
        evidence: int = 3,
        followers: Followers | None = None,
        retriever: Retriever = Retriever.HYBRID,
    ) -> list[RankedAccount]:
        """Return the best accounts for a query, each with its best posts: those of ``answer``."""
        known = followers or ANY_NUMBER
        return self.answer(query, where, limit, evidence=evidence, followers=known, retriever=retriever).accounts

    def answer(  # noqa: PLR0913  # each is a part of one request
        self,
        query: str,
        where: SearchFilter = _ANYONE,
        limit: int = 10,
        *,
        offset: int = 0,
        like: str | None = None,
        evidence: int = 3,
        followers: Followers = ANY_NUMBER,
        retriever: Retriever = Retriever.HYBRID,
    ) -> Answer:
        """Return accounts ``offset`` to ``offset + limit`` of the ranking for a query in the query language.

        ``where`` may have names and aliases: "English", "UK". ``like`` is an account id or handle: its posts are
        searched with, and it is left out. The k best accounts are the first k of any longer answer. Raises ValueError
        for a query without text, for an unknown account or value of a filter, and for a limit or offset below 0;
        CollectionMissingError before the first promotion.
        """
        if limit < 0 or offset < 0:
            raise ValueError(f"limit is {limit} and offset {offset}, expected 0 or more.")
        parsed, where, wanted = parse(query), as_in_points(where, self.lake, followers), offset + limit
        mended: dict[str, str] = {}
        own_account = resolve(self._accounts, like) if like else None
        found, windows, is_complete, weights = _NOTHING, 1, True, {}
        if parsed.name == "":
            raise ValueError("The query is only @, expected a name behind it.")
        if parsed.name is not None:
            names = self._names(parsed, where, followers)
            ranked = rank_accounts(_NOTHING, wanted, evidence, names)
        else:
            words, mended = self._terms.mended(parsed.words)
            searched = replace(parsed, words=words)
            keep = self._keep(parsed, followers, own_account)
            names = [] if own_account or retriever is not Retriever.HYBRID else self._names(parsed, where, followers)
            with self.qdrant.open(self.embedder.model().name) as index:
                question = self._question(index, searched, own_account)
                while True:
                    found = find([index], question, where, keep, windows).of(retriever)
                    ranked = rank_accounts(found, wanted, evidence, names, windows)
                    is_complete = max(len(found.dense), len(found.bm25)) < fetched(windows)
                    if len(ranked) >= wanted or is_complete or windows >= most_windows():
                        break
                    windows += 1
            weights = dict(zip(question.sparse.indices.tolist(), question.sparse.values.tolist(), strict=True))
        page = self._accounts.described(ranked[offset:])
        named = self._accounts.attributes([account_id for account_id, _ in names])
        total = len(accounts_of(found, named))
        return Answer(
            with_relevance(page, weights, self._terms.of),
            parsed,
            mended,
            count_facets(found, named),
            total,
            is_complete and total <= wanted,
        )

    def question(self, query: str) -> Question:
        """Embed and weigh a text. Raise ValueError if it has no text."""
        return self.questions([query])[0]

    def questions(self, queries: Sequence[str]) -> list[Question]:
        """Embed and weigh texts; read the counts of their terms once for all. Raise ValueError for an empty one."""
        texts = [clean(query) for query in queries]
        if not all(texts):
            raise ValueError("The query is empty, expected words to search for.")
        vectors = self.embedder.model().embed_all(texts)
        return [Question(dense, sparse) for dense, sparse in zip(vectors, self._terms.weighed(texts), strict=True)]

    def _question(self, index: VectorIndex, query: Query, own_account: str | None) -> Question:
        """Return what the index is asked: the query's text, an account's posts, or the mean of both."""
        if own_account is None:
            if not query.text and not query.is_plain:
                raise ValueError("The query only leaves words out, expected words to search for.")
            return self.question(query.text)
        like = profile(index, self._terms, own_account)
        if not query.text:
            return like
        asked = self.question(query.text)
        mean = asked.dense + like.dense
        return Question((mean / np.linalg.norm(mean)).astype(np.float32), asked.sparse)

    def _names(self, query: Query, where: SearchFilter, followers: Followers) -> list[tuple[str, NameMatch]]:
        """Return the accounts whose names or bios fit a query and that the filters allow, best first."""
        text = query.text if query.name is None else query.name
        [weighed] = self._terms.weighed([text])
        weights = dict(zip(weighed.indices.tolist(), weighed.values.tolist(), strict=True))
        matches = match_names(text, self._accounts.names(), weights, self._terms.of, in_parts=query.name is not None)
        if not query.is_plain:
            allows = acceptance(query, self._terms.of)
            words = self._accounts.words([account_id for account_id, _ in matches])
            matches = [match for match in matches if allows(words[match[0]])]
        return self._accounts.narrowed(matches, where, followers)

    def _keep(self, query: Query, followers: Followers, own_account: str | None) -> Keep | None:
        """Return a function that keeps the candidates that the query, the range and ``like`` allow; None if all are."""
        keeps: list[Keep] = []
        if not query.is_plain:
            accepts = accepted_by(acceptance(query, self._terms.of))
            keeps.append(lambda found: [candidate for candidate in found if accepts(candidate)])
        if own_account is not None:
            keeps.append(lambda found: [other for other in found if other.payload.get("account_id") != own_account])
        if followers != ANY_NUMBER:
            keeps.append(self._accounts.in_range(followers))
        if not keeps:
            return None

        def keep(found: Sequence[Candidate]) -> list[Candidate]:
            kept = list(found)
            for narrowed in keeps:
                kept = narrowed(kept)
            return kept

        return keep

    @cached_property
    def _accounts(self) -> Accounts:
        return Accounts(self.lake)

    @cached_property
    def _terms(self) -> Terms:
        return Terms(self.lake)
