"""Read found posts in the lake, line by line, and compare their parts with a question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from assets.embeddings import embedded
from assets.lake import LAKE_POSTS
from assets.search.query import Question, Searcher
from assets.search.terms import weights_of
from assets.transforms.search.answers import Passage, Sentence
from assets.transforms.search.asked import names
from assets.transforms.search.parts import Form, Part, parts
from assets.transforms.search.ranking import RankedAccount
from assets.transforms.search.relevance import coverage
from assets.transforms.text.cleaning import clean_lines
from resources.vectors.bm25 import SparseEncoder

_PARTS, _PARTS_EACH = 80, 8


@dataclass(frozen=True)
class _Candidate:
    """A part of a post, the terms of the part, of it with its title and account, and of the whole post; the title."""

    passage: Passage
    part: Part
    own: frozenset[int]
    here: frozenset[int]
    post: frozenset[int]
    title: str


@dataclass(frozen=True)
class Reading:
    """Reads posts for one question."""

    searcher: Searcher
    question: str
    topic: Question

    def sentences(self, ranked: Sequence[RankedAccount], passages: Sequence[Passage]) -> tuple[Sentence, ...]:
        """Return the parts of the posts with their fit to the topic: of each the best _PARTS_EACH by its words.

        Whole posts are read from the lake, whose lines tell a title, a sentence and a list of tags apart.
        """
        name_of = {account.account_id: _name(account) for account in ranked}
        texts = self._texts(passages)
        found = [
            each
            for passage in passages
            for each in self._of_post(passage, texts.get(passage.post_id), name_of[passage.account_id])
        ][:_PARTS]
        if not found:
            return ()
        vectors = embedded(self.searcher.embedder.model(), [each.part.text for each in found])
        asked = self._terms(self.question)
        known = {account_id: asked | self._terms(name) for account_id, name in name_of.items()}
        return tuple(
            Sentence(
                each.passage,
                each.part.text,
                vector,
                float(vector @ self.topic.dense),
                coverage(self._weights, each.own),
                coverage(self._weights, each.here),
                each.part.form,
                each.part.with_next,
                len(each.own - known[each.passage.account_id]),
                self._named(each.post),
                self._named(each.here),
                each.title,
            )
            for each, vector in zip(found, vectors, strict=True)
        )

    def _of_post(self, passage: Passage, text: str | None, name: str) -> list[_Candidate]:
        lines = clean_lines(text)
        found = parts(lines)
        if not found:
            return []
        post, title = self._terms(f"{' '.join(lines)} {name}"), self._terms(f"{lines[0]} {name}")
        first = found[0].text if found[0].form is Form.TITLE else ""
        each = [_Candidate(passage, part, own := self._terms(part.text), own | title, post, first) for part in found]
        best = sorted(each[1:], key=lambda one: -coverage(self._weights, one.own))[: _PARTS_EACH - 1]
        return [each[0], *best]

    def _texts(self, passages: Sequence[Passage]) -> Mapping[str, str]:
        posts = self.searcher.lake.scan(LAKE_POSTS).filter(
            pl.col("account_id").is_in(sorted({passage.account_id for passage in passages})),
            pl.col("post_id").is_in([passage.post_id for passage in passages]),
            pl.col("deleted_at").is_null(),
        )
        return dict(posts.select("post_id", "text").collect().iter_rows())

    @cached_property
    def _weights(self) -> dict[int, float]:
        return weights_of(self.topic.sparse)

    @cached_property
    def _names(self) -> list[frozenset[int]]:
        return [terms for name in names(self.question) if (terms := self._terms(name))]

    def _named(self, terms: frozenset[int]) -> float:
        """Return the share of the question's names that a text has; all of them if there are none."""
        return sum(name <= terms for name in self._names) / len(self._names) if self._names else 1.0

    def _terms(self, text: str) -> frozenset[int]:
        return frozenset(SparseEncoder().count_terms(text).indices.tolist())


def _name(account: RankedAccount) -> str:
    display_name = account.about.display_name if account.about else None
    return f"{display_name or ''} {account.handle or ''}"
