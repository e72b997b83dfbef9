"""Answers with receipts: claims, the posts that each cites, and an answer made of quotes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from assets.transforms.claims import Claim, DroppedClaim
from assets.transforms.search.cosines import CosineScale
from assets.transforms.search.quantities import asked_for
from assets.transforms.summaries.sentences import is_filler
from assets.transforms.text.sentences import sentences

_SHARE_OF_BEST = 0.6
NO_FIT = "No post that was found answers this question."
NO_QUANTITY = "Posts about this were found, but none of them states a {}."


@dataclass(frozen=True)
class Passage:
    """A retrieved post, by its best chunk."""

    post_id: str
    account_id: str
    handle: str | None
    text: str


@dataclass(frozen=True)
class AskAnswer:
    """Claims, and the posts that they cite in the order of their numbers, from 1.

    ``method`` is "quotes" or "model". Without claims, ``abstained`` says why. ``note`` says why a model did not answer,
    or why its answer is not complete.
    """

    question: str
    method: str
    claims: tuple[Claim, ...]
    sources: tuple[Passage, ...]
    abstained: str | None = None
    note: str | None = None
    dropped: tuple[DroppedClaim, ...] = ()
    model: str | None = None
    usd: str | None = None
    seconds: float = 0.0

    def number(self, post_id: str) -> int:
        """Return the number of a cited post."""
        return [source.post_id for source in self.sources].index(post_id) + 1

    @property
    def handles(self) -> dict[str, str]:
        """Account of a source → its handle, or its id without one."""
        return {source.account_id: source.handle or source.account_id for source in self.sources}


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage, its unit vector, its cosine with the topic, and the share of its words that it has."""

    passage: Passage
    text: str
    vector: NDArray[np.float32] = field(repr=False, compare=False)
    cosine: float
    covered: float


def candidates(passages: Iterable[Passage], most: int) -> list[tuple[Passage, str]]:
    """Return sentences with their passages, the first ones of every passage before the others, ``most`` at most.

    Lists of tags, addresses and calls to subscribe answer nothing. The first sentence stays: it has the title.
    """
    numbered = [
        (place, number, passage, text)
        for number, passage in enumerate(passages)
        for place, text in enumerate(dict.fromkeys(sentences(passage.text)))
        if not place or not is_filler(text)
    ]
    numbered.sort(key=lambda found: found[:2])
    return [(passage, text) for _, _, passage, text in numbered[:most]]


def quote(
    question: str, found: Iterable[Sentence], scale: CosineScale, accounts: int = 6, per_account: int = 2
) -> AskAnswer:
    """Return an answer of quoted sentences that fit, grouped by account, best first; it abstains if none fits.

    A sentence with some words of the topic and far fewer than the best one lacks what sets the topic apart: of "vegan
    food" it has "food". One without any of the words says the same in other words, or in another language. If the
    question asks for a quantity, such as a price, only sentences that state one fit.
    """
    fitting = [sentence for sentence in found if scale.fits(sentence.cosine, sentence.covered)]
    most = max((sentence.covered for sentence in fitting), default=0.0)
    fitting = [each for each in fitting if not 0 < each.covered < _SHARE_OF_BEST * most]
    quantity, abstained = asked_for(question), None
    if quantity is not None and fitting:
        fitting = [each for each in fitting if quantity.is_stated(each.text, question)]
        abstained = None if fitting else NO_QUANTITY.format(quantity.name)
    by_account: dict[str, list[Sentence]] = {}

    def place(found: Sentence) -> tuple[float, str, str]:
        return -scale.score(found.cosine, found.covered), found.passage.post_id, found.text

    for sentence in sorted(fitting, key=place):
        chosen = by_account.setdefault(sentence.passage.account_id, [])
        is_new = all(float(sentence.vector @ other.vector) < scale.same for other in chosen)
        if is_new and len(chosen) < per_account:
            chosen.append(sentence)
    claims = [
        Claim(sentence.text, (sentence.passage.post_id,), account_id)
        for account_id, chosen in list(by_account.items())[:accounts]
        for sentence in chosen
    ]
    answer = AskAnswer(question, "quotes", tuple(claims), (), abstained)
    return renumbered(answer, [each.passage for each in fitting])


def renumbered(answer: AskAnswer, passages: Sequence[Passage]) -> AskAnswer:
    """Return an answer whose sources are the cited posts alone, numbered as they are first cited."""
    known = {passage.post_id: passage for passage in passages}
    cited = dict.fromkeys(post_id for claim in answer.claims for post_id in claim.post_ids)
    abstained = answer.abstained if answer.claims or answer.abstained else NO_FIT
    return replace(answer, sources=tuple(known[post_id] for post_id in cited), abstained=abstained)
