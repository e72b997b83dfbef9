"""Summaries of reviews by a language model, asked and checked as the lineage asks and checks those of accounts."""

from collections.abc import Mapping
from decimal import Decimal

from assets.summaries.asking import supported_claims
from assets.transforms.claims import Claim, schema
from assets.transforms.summaries import prompt
from assets.transforms.text.orders import gives_orders
from resources.errors import CippusError
from resources.llm.lane import Lane
from resources.llm.request import Answer, Message, Request
from resources.models.embedder import EmbeddingModel
from resources.models.languages import identify

Summary = list[tuple[str, str]]
"""Sentences, each with the id of the review that it cites."""


class UnansweredError(CippusError):
    """The language model did not answer every request; those that it answered are not paid again."""


def written_by(
    lane: Lane, model: EmbeddingModel, texts: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, Summary], dict[str, tuple[float, float]], str]:
    """Return each entity's claims that its reviews support, its (citation precision, unsupported), and USD.

    ``texts``: entity → review id → text. An entity without a supported claim has no summary; both shares are of the
    answer before unsupported claims were removed. Raises UnansweredError.
    """
    asked = {entity: {id_: text for id_, text in of.items() if not gives_orders(text)} for entity, of in texts.items()}
    requests = {entity: _request(of) for entity, of in asked.items() if of}
    outcomes = {found.id: found for found in lane.ask(list(requests.values()))}
    made: dict[str, Summary] = {}
    checked: dict[str, tuple[float, float]] = {}
    usd = Decimal(0)
    for entity, request in requests.items():
        found = outcomes[request.id(lane.model)]
        if not isinstance(found, Answer):
            raise UnansweredError(f"{lane.model} did not answer every request: {found.reason} Run the command again.")
        usd += Decimal(found.usd)
        claims, dropped = prompt.claims_of(found.value, list(asked[entity]), asked[entity])
        language = identify([" ".join(asked[entity].values())])[0] or ""
        kept = supported_claims(model, claims, asked[entity], language)
        if kept:
            made[entity] = [(claim.text, claim.post_ids[0]) for claim in kept]
        if claims or dropped:
            lost = len(dropped) + len(claims) - len(kept)
            checked[entity] = _cited(kept) / max(_cited(claims), 1), lost / (len(dropped) + len(claims))
    return made, checked, str(usd)


def _cited(claims: list[Claim]) -> int:
    return sum(len(claim.post_ids) for claim in claims)


def _request(texts: Mapping[str, str]) -> Request:
    messages = [Message("system", prompt.system("")), Message("user", prompt.content(list(texts.values())))]
    allowed = schema(list(prompt.ids(list(texts))))
    return Request(messages, prompt.MAX_TOKENS, allowed, prompt_version=prompt.PROMPT_VERSION)
