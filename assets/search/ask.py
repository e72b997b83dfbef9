"""Ask: answer a question from posts, with a citation for every sentence."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from assets.embeddings import embedded
from assets.search.query import ANY_NUMBER, Followers, Searcher
from assets.search.terms import weights_of
from assets.search.writing import Retrieved, Writing
from assets.transforms.search.answers import AskAnswer, Passage, Sentence, candidates, quote
from assets.transforms.search.cosines import CosineScale, scale_of
from assets.transforms.search.questions import topic
from assets.transforms.search.relevance import coverage
from resources.errors import CippusError
from resources.llm.resource import LlmResource
from resources.vectors.bm25 import SparseEncoder
from resources.vectors.values import SearchFilter

_ACCOUNTS, _POSTS_EACH, _SENTENCES = 10, 3, 120


@dataclass(frozen=True)
class Asker:
    """Answers questions with a searcher and, if there is one, a language model."""

    searcher: Searcher
    llm: LlmResource | None = None

    def ask(
        self, question: str, where: SearchFilter, followers: Followers = ANY_NUMBER, *, quotes_only: bool = False
    ) -> AskAnswer:
        """Return the whole answer to a question. Raises ValueError for a question without text."""
        *_, answer = self.stream(question, where, followers, quotes_only=quotes_only)
        return answer

    def stream(
        self, question: str, where: SearchFilter, followers: Followers = ANY_NUMBER, *, quotes_only: bool = False
    ) -> Generator[AskAnswer]:
        """Yield the answer as it grows: without a claim when posts are found, then with one more, at last whole.

        Without a model, or if it has no answer, sentences of the posts are quoted. No more than _POSTS_EACH posts of
        an account are used, so that no account answers alone. Raises ValueError for a question without text.
        """
        started = time.monotonic()
        found = self._retrieve(question, where, followers)
        answer = AskAnswer(question, "model", (), ())
        if self.llm is None or not self.llm.url or quotes_only or not found.passages:
            answer = quote(question, found.sentences, self._scale)
        else:
            yield answer
            for answer in self._written(self.llm, found):
                yield answer
        yield replace(answer, seconds=round(time.monotonic() - started, 3))

    def _written(self, llm: LlmResource, found: Retrieved) -> Iterator[AskAnswer]:
        """Yield the model's answer as it grows. If it fails, keep what it said; without a claim, quote the posts."""
        answer = AskAnswer(found.question, "model", (), ())
        try:
            for answer in Writing(self.searcher, found, self._scale).stream(llm):
                yield answer
        except CippusError as error:
            answer = replace(answer, note=f"The answer is not complete. {error}" if answer.claims else str(error))
        if answer.note and not answer.claims:
            quoted = quote(found.question, found.sentences, self._scale)
            answer = replace(quoted, note=answer.note, model=answer.model, usd=answer.usd)
        yield answer

    @property
    def _scale(self) -> CosineScale:
        return scale_of(self.searcher.embedder.model().name)

    def _retrieve(self, question: str, where: SearchFilter, followers: Followers) -> Retrieved:
        about = topic(question)
        ranked = self.searcher.answer(
            about, where, _ACCOUNTS, evidence=_POSTS_EACH, followers=followers, media=False
        ).accounts
        passages = tuple(
            Passage(post.post_id, account.account_id, account.handle, post.text)
            for account in ranked
            for post in account.evidence
        )
        asked = self.searcher.question(about)
        weights = weights_of(asked.sparse)
        pairs = candidates(passages, _SENTENCES)
        if not pairs:
            return Retrieved(question, asked, (), ())
        vectors = embedded(self.searcher.embedder.model(), [text for _, text in pairs])
        encoder = SparseEncoder()
        sentences = tuple(
            Sentence(
                passage,
                text,
                vector,
                float(vector @ asked.dense),
                coverage(weights, frozenset(encoder.count_terms(text).indices.tolist())),
            )
            for (passage, text), vector in zip(pairs, vectors, strict=True)
        )
        return Retrieved(question, asked, passages, sentences)
