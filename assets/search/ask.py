"""Ask: answer a question from posts, with a citation for every sentence."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from assets.embeddings import embedded
from assets.search.query import ANY_NUMBER, Followers, Searcher
from assets.search.terms import weights_of
from assets.transforms.claims import NOT_SAID, Claim, DroppedClaim, Said, contradiction, parsed, schema, supported
from assets.transforms.search import prompt
from assets.transforms.search.answers import NO_FIT, AskAnswer, Passage, Sentence, candidates, quote, renumbered
from assets.transforms.search.cosines import CosineScale, scale_of
from assets.transforms.search.questions import topic
from assets.transforms.search.relevance import coverage
from resources.errors import CippusError
from resources.llm.request import Answer, Message, Request
from resources.llm.resource import LlmResource
from resources.vectors.bm25 import SparseEncoder
from resources.vectors.values import SearchFilter

ASSET = "search/ask"
"""Name of these calls in the ledger."""
_ACCOUNTS, _POSTS_EACH, _SENTENCES, _MAX_TOKENS = 10, 3, 120, 700


@dataclass(frozen=True)
class Retrieved:
    """What was found for a question: posts of several accounts, and their sentences with their fit."""

    question: str
    passages: tuple[Passage, ...]
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Asker:
    """Answers questions with a searcher and, if there is one, a language model."""

    searcher: Searcher
    llm: LlmResource | None = None

    def ask(
        self, question: str, where: SearchFilter, followers: Followers = ANY_NUMBER, *, quotes_only: bool = False
    ) -> AskAnswer:
        """Answer a question. Raises ValueError for a question without text.

        Without a model, or if it has no answer, sentences of the posts are quoted. No more than _POSTS_EACH posts of
        an account are used, so that no account answers alone.
        """
        started = time.monotonic()
        found = self._retrieve(question, where, followers)
        if self.llm is None or not self.llm.url or quotes_only or not found.passages:
            answer = quote(question, found.sentences, self._scale)
        else:
            answer = self._answered(self.llm, found)
        return replace(answer, seconds=round(time.monotonic() - started, 3))

    def _quoted(self, found: Retrieved) -> AskAnswer:
        return quote(found.question, found.sentences, self._scale)

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
            return Retrieved(question, (), ())
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
        return Retrieved(question, passages, sentences)

    def _answered(self, llm: LlmResource, found: Retrieved) -> AskAnswer:
        """Return the model's answer; the quoted one, with a note, if it has none."""
        request = Request(
            [
                Message("system", prompt.SYSTEM),
                Message("user", prompt.content(found.question, found.passages)),
            ],
            _MAX_TOKENS,
            schema(sorted({passage.post_id for passage in found.passages})),
            prompt_version=prompt.PROMPT_VERSION,
        )
        try:
            with llm.open(f"ask-{uuid.uuid4().hex[:12]}", ASSET) as model:
                request_id = request.id(model.model)
                answer = model.answer(request_id, request)
                if isinstance(answer, Answer):
                    model.answers.forget([request_id])  # an erased account must not stay in stored answers
        except CippusError as error:
            return replace(self._quoted(found), note=str(error))
        if not isinstance(answer, Answer):
            return replace(self._quoted(found), note=f"The model has no answer: {answer.reason}")
        if answer.value is None:
            note = f"The model's answer is not JSON (it ended by {answer.finish_reason or 'itself'})."
            return replace(self._quoted(found), note=note, model=answer.model, usd=answer.usd)
        return replace(self._verified(found, answer), model=answer.model, usd=answer.usd)

    def _verified(self, found: Retrieved, answer: Answer) -> AskAnswer:
        claims, dropped = parsed(answer.value, {passage.post_id for passage in found.passages})
        kept = []
        for claim, reason in self._judged(found, claims):
            if reason is None:
                kept.append(claim)
            else:
                dropped.append(DroppedClaim(claim.text, reason))
        abstained = None if kept else NO_FIT
        made = AskAnswer(found.question, "model", tuple(kept), (), abstained, dropped=tuple(dropped))
        return renumbered(made, found.passages)

    def _judged(self, found: Retrieved, claims: Sequence[Claim]) -> list[tuple[Claim, str | None]]:
        """Return each claim with the posts that support it alone, and why it is not shown, if so."""
        if not claims:
            return []
        model, about = self.searcher.embedder.model(), topic(found.question)
        vectors = embedded(model, [claim.text for claim in claims])
        asked, encoder = self.searcher.question(about), SparseEncoder()
        weights = weights_of(asked.sparse)
        said = [Said(sentence.passage.post_id, sentence.text, sentence.vector) for sentence in found.sentences]
        judged: list[tuple[Claim, str | None]] = []
        for claim, vector in zip(claims, vectors, strict=True):
            carried, best = supported(claim, vector, said, self._scale.supported)
            cited = [each for each in found.passages if each.post_id in carried.post_ids]
            words = [*(each.text for each in cited), *(each.handle or "" for each in cited)]
            terms = frozenset(encoder.count_terms(claim.text).indices.tolist())
            if not carried.post_ids:
                reason: str | None = NOT_SAID
            elif not self._scale.fits(float(np.dot(vector, asked.dense)), coverage(weights, terms)):
                reason = "It does not answer the question."
            else:
                reason = contradiction(claim.text, words, best)
            judged.append((carried if carried.post_ids else claim, reason))
        return judged
