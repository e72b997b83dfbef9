"""Ask: answer a question from posts, with a citation for every sentence."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from assets.search.query import ANY_NUMBER, Followers, Searcher
from assets.search.reading import Reading
from assets.search.writing import Retrieved, Writing
from assets.transforms.search.answers import AskAnswer, Passage, quote
from assets.transforms.search.cosines import CosineScale, scale_of
from assets.transforms.search.questions import topic
from resources.errors import CippusError
from resources.llm.resource import LlmResource
from resources.vectors.values import SearchFilter

_ACCOUNTS, _POSTS_EACH = 10, 3


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
            Passage(post.post_id, account.account_id, account.handle, post.text, post.posted_at)
            for account in ranked
            for post in account.evidence
        )
        asked = self.searcher.question(about)
        return Retrieved(question, asked, passages, Reading(self.searcher, question, asked).sentences(ranked, passages))
