"""Search: return ranked accounts with evidence for a query."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Thread

import numpy as np

from assets.search.accounts import Accounts
from assets.search.candidates import Keep, Question, fetched, find, most_windows, unknown_cosines
from assets.search.filters import ANY_NUMBER, Followers, as_in_points, known_values
from assets.search.memory import FRESH_SECONDS, Memory
from assets.search.similar import both, profile, resolve, written
from assets.search.terms import Terms, weights_of
from assets.transforms.search.cosines import scale_of
from assets.transforms.search.facets import count_accounts
from assets.transforms.search.names import NameMatch, match_names
from assets.transforms.search.query_language import Query, acceptance, accepted_by, parse
from assets.transforms.search.ranking import Candidates, RankedAccount, Retriever, rank_accounts
from assets.transforms.search.relevance import with_relevance
from assets.transforms.search.trust import trust_of
from assets.transforms.text.cleaning import clean
from resources.delta.table import LakeResource
from resources.errors import CippusError
from resources.llm.embedder import EmbedderResource
from resources.vectors.index import SearchIndex
from resources.vectors.resource import QdrantResource
from resources.vectors.values import Candidate, SearchFilter
from resources.wiring import resources, with_secrets

__all__ = ["ANY_NUMBER", "Answer", "Followers", "Question", "SearchFilter", "Searcher", "find", "open_search"]
_ANYONE = SearchFilter()


@dataclass(frozen=True)
class Answer:
    """A page of ranked accounts, and what was searched for.

    ``found`` is the number of accounts that were found so far; more may follow unless ``is_complete``. ``mended`` are
    the words that no post has, with those that were searched for instead. ``facets`` count the accounts that were found
    by network, country, language and vertical. Without ``is_read`` the model could not read the query, or the posts of
    the account that is ``like``, and BM25 alone answered it. Without ``fits_well`` the accounts are only the nearest.
    """

    accounts: list[RankedAccount]
    query: Query
    mended: Mapping[str, str] = field(default_factory=dict)
    facets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    found: int = 0
    is_complete: bool = True
    is_read: bool = True
    fits_well: bool = True


@dataclass(frozen=True)
class _Found:
    """A page of the ranking, its candidates, and what their relevance depends on."""

    page: list[RankedAccount]
    candidates: Candidates = field(default_factory=lambda: Candidates([], []))
    weights: Mapping[int, float] = field(default_factory=dict)
    cosine_of: Mapping[str, float] = field(default_factory=dict)
    mended: Mapping[str, str] = field(default_factory=dict)
    is_complete: bool = True
    is_read: bool = True
    fits_well: bool = True
    trust: float = 1.0


def open_search() -> "Searcher":
    """Return a searcher of the stack that the environment variables name, as `cippus search` uses it.

    It can be kept, and used by several threads. A search while a run writes answers from what is promoted; names and
    numbers are at most FRESH_SECONDS old. The embedded stack must be up (`cippus up`).
    """
    made = resources()
    embedder = with_secrets(made.embedder)
    # A second thread saves 2 ms of a query, and spins while it waits for the next: 40 of 88 ms of CPU a search.
    embedder = embedder.model_copy(update={"threads": embedder.threads or 1})
    Thread(target=_open, args=(embedder,)).start()  # names and counts are read meanwhile
    return Searcher(made.lake, embedder, with_secrets(made.qdrant), FRESH_SECONDS)


def _open(embedder: EmbedderResource) -> None:
    """Open the encoder. What fails is raised at its first use."""
    with suppress(CippusError):
        embedder.model().open()


@dataclass(frozen=True)
class Searcher:
    """Searches with the lake's accounts and corpus-wide term counts, the encoder and the index.

    The lake is asked for new commits at most every ``fresh_seconds``.
    """

    lake: LakeResource
    embedder: EmbedderResource
    qdrant: QdrantResource
    fresh_seconds: float = 0.0

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
        media: bool = True,
    ) -> Answer:
        """Return accounts ``offset`` to ``offset + limit`` of the ranking for a query in the query language.

        ``where`` may have names and aliases: "English", "UK". ``like`` is an account id or handle: its posts are
        searched with, and it is left out. Without ``media``, evidence lacks the address of its media, which costs a
        scan. The k best accounts are the first k of any longer answer. Raises ValueError for a query without text, for
        an unknown account or value of a filter, and for a limit or offset below 0; CollectionMissingError before the
        first promotion.
        """
        if limit < 0 or offset < 0:
            raise ValueError(f"limit is {limit} and offset {offset}, expected 0 or more.")
        parsed, where = parse(query), as_in_points(where, self._memory, followers)
        own_account, page = resolve(self._accounts, like) if like else None, slice(offset, offset + limit)
        is_by_name = retriever is Retriever.HYBRID and own_account is None
        names = self._names(parsed, where, followers) if is_by_name or parsed.name is not None else []
        if parsed.name is None:
            keep = self._keep(parsed, followers, own_account)
            found = self._posts(parsed, where, keep, own_account, retriever, names, page, evidence)
        else:
            found = _Found(rank_accounts(Candidates([], []), page.stop, evidence, names)[page])
        named = self._accounts.attributes([account_id for account_id, _ in names])
        counted = count_accounts(found.candidates, named)
        described = self._accounts.described(found.page, media=media)
        scale = scale_of(self.embedder.model().name)
        return Answer(
            with_relevance(described, found.weights, self._terms.of, found.cosine_of, scale, trust=found.trust),
            parsed,
            found.mended,
            counted.facets,
            counted.accounts,
            found.is_complete and counted.accounts <= page.stop,
            found.is_read,
            found.fits_well or any(match.field != "words" for _, match in names),
        )

    def _posts(  # noqa: PLR0913  # each is a part of one request
        self,
        query: Query,
        where: SearchFilter,
        keep: Keep | None,
        own_account: str | None,
        retriever: Retriever,
        names: Sequence[tuple[str, NameMatch]],
        page: slice,
        evidence: int,
    ) -> "_Found":
        """Rank the accounts of the posts that a query finds, and those found by name."""
        words, mended = self._terms.mended(query.words)
        windows = 1
        with self.qdrant.reader(self.embedder.model().name) as index:
            question = self._question(index, replace(query, words=words), own_account)
            while True:
                found = find([index], question, where, keep, windows).of(retriever)
                ranked = rank_accounts(found, page.stop, evidence, names, windows)
                is_complete = max(len(found.dense), len(found.bm25)) < fetched(windows)
                if len(ranked) >= page.stop or is_complete or windows >= most_windows():
                    break
                windows += 1
            cosine_of = unknown_cosines(index, question, ranked[page])
        return _Found(
            ranked[page],
            found,
            weights_of(question.sparse),
            cosine_of,
            mended,
            is_complete,
            question.is_read,
            found.fit >= trust_of(self.embedder.model().name).least_fit or retriever is not Retriever.HYBRID,
            question.trust,
        )

    def warm(self) -> None:
        """Open the encoder and read what every search needs, which takes seconds. Raise what fails in the encoder."""
        model = self.embedder.model()
        model.open()
        with suppress(CippusError):  # without an index, searches say so
            self._terms.with_forms(["word"])
            self._accounts.attributes([])
            self.values()
            with self.qdrant.reader(model.name) as index:
                index.search_dense(np.eye(1, model.dimension, dtype=np.float32)[0], _ANYONE, 1)

    def values(self) -> Mapping[str, Mapping[str, int]]:
        """Return network, country and language → value of a filter → number of accounts with such posts."""
        return known_values(self._memory)

    def like(self, account: str) -> str:
        """Return an account of ``like`` as people write it: by its handle if only it is called so."""
        return written(self._accounts, account)

    def can_read(self, query: str) -> bool:
        """Return whether the embedding model can read a text; BM25 alone answers another."""
        return self.embedder.model().can_read([clean(query)])[0]

    def question(self, query: str) -> Question:
        """Embed and weigh a text. Raise ValueError if it has no text."""
        return self.questions([query])[0]

    def questions(self, queries: Sequence[str]) -> list[Question]:
        """Embed and weigh texts; read the counts of their terms once for all. Raise ValueError for an empty one."""
        texts = [clean(query) for query in queries]
        if not all(texts):
            raise ValueError("The query is empty, expected words to search for.")
        model = self.embedder.model()
        trust, asked = trust_of(model.name), zip(model.embed_queries(texts), self._terms.with_forms(texts), strict=True)
        return [
            Question(dense, sparse, trust.of(text), forms)
            for text, (dense, (sparse, forms)) in zip(texts, asked, strict=True)
        ]

    def _question(self, index: SearchIndex, query: Query, own_account: str | None) -> Question:
        """Return what the index is asked: the query's text, an account's posts, or the mean of both."""
        if own_account is None:
            if not query.text and not query.is_plain:
                raise ValueError("The query only leaves words out, expected words to search for.")
            return self.question(query.text)
        like = profile(index, self._terms, own_account, self.embedder.model().dimension)
        if not query.text:
            return like
        return both(self.question(query.text), like)

    def _names(self, query: Query, where: SearchFilter, followers: Followers) -> list[tuple[str, NameMatch]]:
        """Return the accounts whose names or bios fit a query and that the filters allow, best first."""
        if query.name == "":
            raise ValueError("The query is only @, expected a name behind it.")
        text = query.text if query.name is None else query.name
        [weighed] = self._terms.weighed([text])
        names, weights, is_name = self._accounts.names(), weights_of(weighed), query.name is not None
        matches = match_names(text, names, weights, self._terms.of, in_parts=is_name)
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
        return Accounts(self._memory)

    @cached_property
    def _terms(self) -> Terms:
        return Terms(self._memory)

    @cached_property
    def _memory(self) -> Memory:
        return Memory(self.lake, self.fresh_seconds)
