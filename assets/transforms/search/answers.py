"""Answers with receipts: claims, the posts that each cites, and an answer made of quotes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from assets.transforms.claims import Claim, DroppedClaim
from assets.transforms.search.asked import Asked, asked
from assets.transforms.search.cosines import CosineScale
from assets.transforms.search.parts import Form
from assets.transforms.search.quantities import asked_for

_SHARE_OF_BEST, _SHARE_OF_BEST_ACCOUNT = 0.9, 0.8
_FEWEST_NEW = 2
_NAMED, _NAMED_HERE = 0.75, 0.5
_LIST, _OWN_OF_TITLE = 0.45, 0.5
_SHARE_OF_WORDS, _STATED = 0.75, 0.42
NO_FIT = "No post that was found answers this question."
NO_QUANTITY = "Posts about this were found, but none of them states a {}."


@dataclass(frozen=True)
class Passage:
    """A retrieved post, by its best chunk."""

    post_id: str
    account_id: str
    handle: str | None
    text: str
    posted_at: str | None = None


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
    """A part of a passage, its unit vector, its cosine with the topic, and the share of the topic's words that it has.

    ``in_context`` is the share that it has together with its post's title and account. ``new_words`` is the number of
    its words that neither the question nor the account's name has. ``named`` is the share of the question's names that
    its post has, and ``named_here`` that of the part with its title. ``then`` is the part with the sentence that
    follows it, and ``title`` the first of the post's lines, if it has more.
    """

    passage: Passage
    text: str
    vector: NDArray[np.float32] = field(repr=False, compare=False)
    cosine: float
    covered: float
    in_context: float | None = None
    form: Form = Form.PROSE
    then: str = ""
    new_words: int = _FEWEST_NEW
    named: float = 1.0
    named_here: float = 1.0
    title: str = ""


def quote(
    question: str, found: Iterable[Sentence], scale: CosineScale, accounts: int = 6, per_account: int = 2
) -> AskAnswer:
    """Return an answer of quoted parts that fit, grouped by account, best first; it abstains if none fits.

    A part must answer by itself. It has what the question asks for: a quantity, such as a price, or else words that
    the question does not have. A question is no answer, but for one that asks for accounts. Its post has the
    question's names. A part with some words of the topic and far fewer than the best one lacks what sets the topic
    apart: of "vegan food" it has "food". One without any of the words says the same in other words, or in another
    language. Each post is quoted once.
    """
    kind, quantity, abstained = asked(question), asked_for(question), None
    about = [each for each in found if _is_on_subject(each)]
    said = [each for each in about if quantity is not None or _says_it(each, kind)]
    fitting = _distinct([each for each in said if scale.fits(each.cosine, _context(each))])
    if quantity is not None and fitting:
        stating = [each for each in said if quantity.is_stated(each.text, question)]
        fitting = _distinct([each for each in stating if _is_near(each, scale)])
        abstained = None if fitting else NO_QUANTITY.format(quantity.name)
    chosen = _chosen(fitting, scale, kind, per_account)
    claims = [
        Claim(_quoted(part, part.text if quantity else part.then or part.text), (part.passage.post_id,), account_id)
        for account_id, parts in list(chosen.items())[:accounts]
        for part in parts
    ]
    answer = AskAnswer(question, "quotes", tuple(claims), (), abstained)
    return renumbered(answer, [each.passage for each in fitting])


def _quoted(part: Sentence, said: str) -> str:
    """Return what a part says, after its post's title where that has words of the topic which the part lacks."""
    is_said_there = part.form is Form.PROSE and _context(part) > part.covered and part.title not in said
    return f"{part.title} … {said}" if is_said_there else said


def _chosen(
    fitting: Sequence[Sentence], scale: CosineScale, kind: Asked, per_account: int
) -> dict[str, list[Sentence]]:
    """Return account id → its best parts, none of them said before, and one of each post. Best accounts first.

    With some of the topic's words, a part must be nearly as good as the best one; less so if accounts are asked for,
    because many answer.
    """
    scored = [(_score(part, scale, kind), part) for part in fitting]
    share = _SHARE_OF_BEST_ACCOUNT if kind is Asked.ACCOUNTS else _SHARE_OF_BEST
    least = share * max((score for score, _ in scored), default=0.0)
    found: dict[str, list[Sentence]] = {}
    for score, part in sorted(scored, key=lambda each: (-each[0], each[1].passage.post_id, each[1].text)):
        if score < least and _context(part):
            continue
        mine = found.setdefault(part.passage.account_id, [])
        is_new = all(float(part.vector @ other.vector) < scale.same for other in mine)
        if is_new and len(mine) < per_account and part.passage.post_id not in {other.passage.post_id for other in mine}:
            mine.append(part)
    return found


def _context(part: Sentence) -> float:
    return part.covered if part.in_context is None else part.in_context


def _is_near(part: Sentence, scale: CosineScale) -> bool:
    """Return whether a part that states the quantity fits. It needs fewer words than another to be about the topic."""
    return scale.fits(part.cosine, _context(part)) or (_context(part) >= _STATED and part.cosine >= scale.alike)


def _distinct(parts: Sequence[Sentence]) -> list[Sentence]:
    """Return the parts with none of the topic's words, or nearly as many as the best one."""
    most = max((_context(part) for part in parts), default=0.0)
    return [part for part in parts if not 0 < _context(part) < _SHARE_OF_WORDS * most]


def _is_on_subject(part: Sentence) -> bool:
    return part.named >= _NAMED and part.named_here >= _NAMED_HERE


def _says_it(part: Sentence, kind: Asked) -> bool:
    """Return whether a part has more than the question: words of its own, and no question mark.

    An item alone has no context. A title or a list is nothing that somebody says.
    """
    if part.form is Form.ITEM:
        return False
    if kind is Asked.ACCOUNTS:
        return True
    if kind is Asked.WORDS and part.form is not Form.PROSE:
        return False
    if part.form is Form.TITLE and part.covered < _OWN_OF_TITLE:
        return False
    return part.new_words >= _FEWEST_NEW and not part.text.rstrip().endswith(("?", "？", "؟"))


def _score(part: Sentence, scale: CosineScale, kind: Asked) -> float:
    """Return how well a part answers; higher is better. Of things, a list has more than a sentence or a title."""
    bonus = _LIST if part.form is Form.LIST and kind is Asked.THING else 0.0
    return scale.score(part.cosine, (part.covered + _context(part)) / 2) + bonus


def renumbered(answer: AskAnswer, passages: Sequence[Passage]) -> AskAnswer:
    """Return an answer whose sources are the cited posts alone, numbered as they are first cited."""
    known = {passage.post_id: passage for passage in passages}
    cited = dict.fromkeys(post_id for claim in answer.claims for post_id in claim.post_ids)
    abstained = answer.abstained if answer.claims or answer.abstained else NO_FIT
    return replace(answer, sources=tuple(known[post_id] for post_id in cited), abstained=abstained)
