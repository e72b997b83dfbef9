"""The answer of a language model while it is written: each claim is verified against its posts before it is shown."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from assets.embeddings import embedded
from assets.search.query import Question, Searcher
from assets.search.terms import weights_of
from assets.transforms.claims import (
    NOT_SAID,
    Claim,
    DroppedClaim,
    Said,
    complete_claims,
    contradiction,
    parsed,
    schema,
    supported,
)
from assets.transforms.search import prompt
from assets.transforms.search.answers import AskAnswer, Passage, Sentence, renumbered
from assets.transforms.search.cosines import CosineScale
from assets.transforms.search.relevance import coverage
from resources.llm.request import Answer, Message, Request
from resources.llm.resource import LlmResource
from resources.vectors.bm25 import SparseEncoder

ASSET = "search/ask"
"""Name of these calls in the ledger."""
_MAX_TOKENS = 700
_OFF_TOPIC = "It does not answer the question."


@dataclass(frozen=True)
class Retrieved:
    """What was found for a question: posts of several accounts, and their sentences with their fit to its topic."""

    question: str
    topic: Question
    passages: tuple[Passage, ...]
    sentences: tuple[Sentence, ...]


@dataclass
class Writing:
    """One answer of a model. ``kept``, ``dropped`` and ``unknown``, claims that cite no post, grow with its text."""

    searcher: Searcher
    found: Retrieved
    scale: CosineScale
    kept: list[Claim] = field(default_factory=list)
    dropped: list[DroppedClaim] = field(default_factory=list)
    unknown: list[DroppedClaim] = field(default_factory=list)
    judged: int = 0
    """Number of the claims with known posts that were compared with them."""

    def stream(self, llm: LlmResource) -> Iterator[AskAnswer]:
        """Yield the answer with each claim that is kept, then the whole one with its cost. Raises CippusError."""
        request = self._request()
        text = ""
        with llm.open(f"ask-{uuid.uuid4().hex[:12]}", ASSET) as model:
            request_id = request.id(model.model)
            with closing(model.stream(request)) as parts:  # a reader that goes away ends the call before the ledger
                for part in parts:
                    text += part
                    if self._take({"claims": complete_claims(text)}):
                        yield self._answer()
            [answer] = [found for found in model.find([request_id]) if isinstance(found, Answer)]
            model.forget([request_id])  # an erased account must not stay in stored answers
        self._take(answer.value)
        yield self._whole(answer)

    def _request(self) -> Request:
        messages = [
            Message("system", prompt.SYSTEM),
            Message("user", prompt.content(self.found.question, self.found.passages)),
        ]
        return Request(messages, _MAX_TOKENS, schema(sorted(self._known)), prompt_version=prompt.PROMPT_VERSION)

    @cached_property
    def _said(self) -> list[Said]:
        return [Said(each.passage.post_id, each.text, each.vector) for each in self.found.sentences]

    @cached_property
    def _known(self) -> set[str]:
        return {passage.post_id for passage in self.found.passages}

    def _take(self, value: object) -> bool:
        """Judge the claims that were not judged yet. Return whether one of them is kept."""
        claims, self.unknown = parsed(value, self._known)
        new = claims[self.judged :]
        before = len(self.kept)
        for claim in new:
            carried, reason = self._judge(claim)
            if reason is None:
                self.kept.append(carried)
            else:
                self.dropped.append(DroppedClaim(claim.text, reason))
        self.judged += len(new)
        return len(self.kept) > before

    def _answer(self) -> AskAnswer:
        return renumbered(AskAnswer(self.found.question, "model", tuple(self.kept), ()), self.found.passages)

    def _whole(self, answer: Answer) -> AskAnswer:
        note = None
        if answer.value is None:
            note = f"The model's answer is not JSON (it ended by {answer.finish_reason or 'itself'})."
        whole = replace(self._answer(), dropped=(*self.unknown, *self.dropped), note=note)
        return replace(whole, model=answer.model, usd=answer.usd)

    def _judge(self, claim: Claim) -> tuple[Claim, str | None]:
        """Return the claim with the posts that support it alone, and why it is not shown, if so."""
        [vector] = embedded(self.searcher.embedder.model(), [claim.text])
        carried, best = supported(claim, vector, self._said, self.scale.supported)
        if not carried.post_ids:
            return claim, NOT_SAID
        topic, terms = self.found.topic, frozenset(SparseEncoder().count_terms(claim.text).indices.tolist())
        if not self.scale.fits(float(np.dot(vector, topic.dense)), coverage(weights_of(topic.sparse), terms)):
            return carried, _OFF_TOPIC
        cited = [each for each in self.found.passages if each.post_id in carried.post_ids]
        words = [*(each.text for each in cited), *(each.handle or "" for each in cited)]
        return carried, contradiction(claim.text, words, best)
